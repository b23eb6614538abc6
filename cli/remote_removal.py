"""Removal at a registry: the tag alone, or, where it deletes by digest only, a manifest that nothing needs.

Every tag that goes with a manifest is told before it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from cli import sources
from cli.agreement import agree
from cli.batch import each
from cli.options import Invocation
from cli.render import Document, visible
from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.targets.remote import Remote
from registry.targets.removal import tags_that_go


def remove(invocation: Invocation, models: Sequence[Name]) -> int:
    """The tag alone; where a registry deletes by digest only, every tag that goes with it is named first."""
    with sources.connections(invocation) as opened:
        ask = partial(_ask, invocation)
        return each(invocation, models, lambda name: removed(opened.remote(name), name, ask))


def removed(registry: Remote, name: Name, ask: Callable[..., bool]) -> tuple[Document, str]:
    """Remove one, if `ask` raises nothing; what is told of it. RegistryError.

    `ask` says whether a person was asked: somebody may have pushed until that one answered.
    """
    with sources.telling_tags(registry, name):
        digest = registry.digest(name)
    if name.digest is None:
        ask(f"{name} is {digest.short} at the registry")
        if registry.digest(name) != digest:
            raise InvalidError(f"{name} was moved meanwhile; nothing was removed", host=name.host)
        if registry.untag(name):
            return _told(name, digest, [name.tag])
    tags = tags_that_go(registry, name, digest)
    others = [tag for tag in tags if name.digest is not None or tag != name.tag]
    if others or name.digest is not None:
        goes = f"{', '.join(others) or 'no tag'} go{'' if len(others) > 1 else 'es'}"
        told = f"{name.host} deletes by digest: {goes} with {name}"
        if ask(told, say=bool(others)) and tags_that_go(registry, name, digest) != tags:
            raise InvalidError(
                f"{name} got or lost a tag meanwhile; nothing was removed",
                host=name.host,
                hint="run the same command again",
            )
    registry.untag(name.with_reference(digest))
    return _told(name, digest, tags)


def _told(name: Name, digest: Digest, tags: list[str]) -> tuple[Document, str]:
    alone = name.digest is None and tags == [name.tag]
    told = f"removed {name}" if alone else f"removed {name} with its tags: {', '.join(tags) or 'none'}"
    return {"name": str(name), "digest": str(digest), "tags": tags}, visible(told)


def _ask(invocation: Invocation, what: str, *, say: bool = False) -> bool:
    """Go on only with --yes (then `what` is told, with `say`) or an answer; whether a person was asked.

    InvalidError without either.
    """
    told = visible(what)
    if say and invocation.settings.on("yes"):
        invocation.terminal.note(f"ferry: {told}")
    hint = "say --yes to remove it"
    return agree(invocation, told, "Remove?", undone="nothing was removed", hint=hint)
