"""The names a person types: which model is meant, and that none is published where nobody meant it to be."""

from __future__ import annotations

from cli.agreement import agree
from cli.options import Invocation
from cli.render import visible
from registry.errors import InvalidError, RegistryError
from registry.model.names import DEFAULT_TAG, Name, is_host, names_host


def parse(invocation: Invocation, text: str, *, destination: bool = False) -> Name:
    """The model that `text` names; InvalidError for a host alone, unless the store has a model called so.

    `destination`: it is where models are published, so any dotted name is a host.
    """
    if not is_host(text, destination=destination) or in_store(invocation, text):
        return invocation.settings.name(text)
    example = f"for example {text.rstrip('/')}/acme/tiny"
    model = "" if is_host(text) else f"; the model of that name is library/{text}"
    raise InvalidError(f"{text} is a host; add NAMESPACE/MODEL", hint=f"{example}{model}")


def published(invocation: Invocation, text: str, source: Name) -> Name:
    """Where `text` says that `source` is published; without tag and digest, under those of `source`.

    InvalidError for a host alone, and where no host is said anywhere and nobody says yes to the public one.
    """
    to = parse(invocation, text, destination=True)
    if to.digest is None and ":" not in text.rpartition("/")[2]:
        to = to.with_reference(source.digest or source.tag or DEFAULT_TAG)
    agree_to_host(invocation, text, to)
    return to


def agree_to_host(invocation: Invocation, text: str, to: Name) -> None:
    """Have somebody agree where no host was said, so that `to` is at the public registry only by default."""
    settings = invocation.settings
    if names_host(text) or settings.get("registry") or settings.on("dry_run"):
        return
    told = visible(f"{text} names no host, so it would be published at {to.host} as {to.repository}:{to.tag}")
    hint = f"write a host in front: HOST/{to.repository}; or say --yes"
    agree(invocation, told, "Publish it there?", undone="nothing was published", hint=hint)


def in_store(invocation: Invocation, text: str) -> bool:
    """Whether the local store holds a model of this name."""
    from registry.targets.store import Store

    try:
        store = Store(invocation.settings.models()[0])
        try:
            store.resolve(invocation.settings.name(text))
        finally:
            store.close()
    except RegistryError:
        return False
    return True
