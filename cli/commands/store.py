"""A second name for a model, the removal of models, and of what is left over."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import click

from cli import naming, sources
from cli.agreement import agree
from cli.batch import each
from cli.options import NETWORK, REMOTE, STORE, Invocation, command
from cli.render import Document, counted, date, size, visible
from registry.errors import InvalidError, NotFoundError, Reason
from registry.model.names import Name, is_pattern, matches
from registry.targets.store import Store
from registry.targets.sweep import Pruned, Waiting

_HEX = re.compile(r"([0-9a-f]{12})[0-9a-f]{20,}")


@command(*STORE, *NETWORK)
@click.argument("source")
@click.argument("destination")
@REMOTE
def cp(invocation: Invocation, source: str, destination: str, remote: bool) -> int | None:
    """Give the model SOURCE the second name DESTINATION; its blobs are shared.

    \b
      ferry cp tiny:1.0 models.acme.example/acme/tiny:1.0
      ferry cp tiny tiny:backup
    """
    name, to = naming.parse(invocation, source), naming.parse(invocation, destination, destination=remote)
    if remote:
        naming.agree_to_host(invocation, destination, to)
        return _copy_at_registry(invocation, name, to)
    sources.storable(invocation, to, "choose another name for it")
    with sources.store(invocation) as store:
        with sources.telling_tags(store, name):
            store.copy_name(name, to)
        digest = store.resolve(to).digest
        store.origins.put_made_here(to, digest)
    invocation.terminal.answer({"name": str(to), "digest": str(digest)}, f"{to} is {name}, {digest.short}")
    return None


def _copy_at_registry(invocation: Invocation, name: Name, to: Name) -> int:
    from cli import transfers

    watcher = transfers.watcher(invocation)
    with sources.connections(invocation) as opened:
        if opened.origin(name) != opened.origin(to):
            raise InvalidError(
                f"{name} and {to} are at different registries", hint=f"ferry mirror {name} {to}"
            )
        return transfers.copy_each(
            invocation, [to], lambda to: transfers.between(opened, name, to), watcher, opened
        )


@command(*STORE, *NETWORK, "dry_run")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@REMOTE
def rm(invocation: Invocation, names: tuple[str, ...], remote: bool) -> int:
    """Remove models, and the blobs that no other model needs. A quoted 'acme/*' is all of those.

    \b
      ferry rm tiny
      ferry rm --remote --yes models.acme.example/acme/old:1.0
    """
    patterns = [name for name in names if is_pattern(name)]
    if remote:
        if patterns or invocation.settings.on("dry_run"):
            what = f"{patterns[0]} is a pattern" if patterns else "--dry-run"
            raise InvalidError(
                f"{what}: that is for the local store", hint="ferry tags NAME lists a registry's"
            )
        from cli import remote_removal

        return remote_removal.remove(invocation, [naming.parse(invocation, name) for name in names])
    with sources.store(invocation) as store:
        models = [model for name in names for model in _meant(invocation, store, name)]
        models = list(dict.fromkeys(models))
        if invocation.settings.on("dry_run"):
            return _would_remove(invocation, store, models)
        if patterns:
            _agree(invocation, store, models)
        return each(invocation, models, lambda name: _remove(store, name), listed=bool(patterns))


def _meant(invocation: Invocation, store: Store, name: str) -> list[Name]:
    """The model of that name, or all those of a pattern. NotFoundError where none is."""
    if not is_pattern(name):
        return [naming.parse(invocation, name)]
    found = [entry.name for entry in store.entries() if matches(entry.name, name)]
    if not found:
        raise NotFoundError(f"no model here is called {name}", reason=Reason.NOT_IN_STORE)
    return sorted(found, key=str)


def _agree(invocation: Invocation, store: Store, models: Sequence[Name]) -> None:
    """Go on only with --yes or an answer, all that would be removed being named; InvalidError without."""
    if invocation.settings.on("yes"):
        return
    for name in models:
        invocation.terminal.complain(f"  {visible(str(name))}")
    told = f"{counted(len(models), 'model')} would be removed, {size(store.would_free(models))} freed"
    hint = "say --yes to remove them"
    agree(invocation, told, "Remove?", undone="nothing was removed", hint=hint)


def _would_remove(invocation: Invocation, store: Store, models: Sequence[Name]) -> int:
    """Say what would be removed and freed."""
    freed = store.would_free(models)
    if invocation.terminal.json:
        rows = [{"name": str(name), "digest": str(store.resolve(name).digest)} for name in models]
        invocation.terminal.document({"freed": 0, "would_free": freed, "models": rows})
        return 0
    for name in models:
        invocation.terminal.line(f"{visible(str(name))} would be removed")
    invocation.terminal.line(f"{size(freed)} would be freed")
    return 0


@command(*STORE, "dry_run")
@click.option("--now", "at_once", is_flag=True, help="Not after an hour: what only Ferry uses.")
def prune(invocation: Invocation, at_once: bool) -> None:
    """Remove blobs that no model names, and what broken transfers left, after an hour.

    What Ollama may be working on waits that hour in any case.

    \b
      ferry prune --dry-run
      ferry prune --now
    """
    dry_run = invocation.settings.on("dry_run")
    with sources.store(invocation) as store:
        no_models = invocation.settings.on("yes")
        pruned = store.prune(time.time(), dry_run=dry_run, at_once=at_once, no_models=no_models)
    if not dry_run:
        sources.forget_what_is_old(invocation, time.time())
    if pruned.kept:
        invocation.terminal.complain(f"ferry: {visible(pruned.kept)}")
    if pruned.unlisted:
        invocation.terminal.complain(
            "  → the same command with --yes removes them; ferry pull NAME finds them here"
        )
    if invocation.terminal.json:
        invocation.terminal.document(_pruned(pruned, dry_run))
        return
    for item in pruned.items:
        invocation.terminal.line(f"{_shown(item.path, store)}  {size(item.size)}")
    for wait in pruned.waiting:
        until = time.strftime("%H:%M", time.localtime(wait.until + 59))
        invocation.terminal.line(f"{_shown(wait.path, store)}  {size(wait.size)}  waits until {until}")
    if pruned.items:
        invocation.terminal.line(f"{size(pruned.freed)} {'would be freed' if dry_run else 'freed'}")
    if pruned.waiting:
        invocation.terminal.line(_what_waits(pruned.waiting))
    if not pruned.items and not pruned.waiting and not pruned.kept:
        invocation.terminal.line("nothing is left over")


def _shown(path: Path, store: Store) -> str:
    """Which file of the store that is, with as much of a digest as other commands show."""
    below = path.relative_to(store.models) if path.is_relative_to(store.models) else path
    return visible(_HEX.sub(r"\1…", str(below)))


def _pruned(pruned: Pruned, dry_run: bool) -> Document:
    return {
        "freed": 0 if dry_run else pruned.freed,
        "items": [{"path": str(item.path), "size": item.size} for item in pruned.items],
        "waiting": [
            {"path": str(item.path), "size": item.size, "until": date(item.until)} for item in pruned.waiting
        ],
    }


def _what_waits(waiting: Sequence[Waiting]) -> str:
    """How much is left over and too young, and what need not wait."""
    text = (
        f"{size(sum(item.size for item in waiting))} waits: it is younger than an hour, or Ollama may need it"
    )
    if (ours := sum(item.size for item in waiting if item.ours)) > 0:
        text += f"; ferry prune --now frees {size(ours)} of it"
    return text


def _remove(store: Store, name: Name) -> tuple[Document, str]:
    if name.digest is not None:
        raise InvalidError(f"{name}: local models go by name and tag", hint="leave the digest out")
    with sources.telling_tags(store, name):
        digest = store.resolve(name).digest
    freed = store.remove(name)
    told = f"removed {name}, {size(freed) if freed else 'nothing'} freed"
    return {"name": str(name), "digest": str(digest), "freed": freed}, visible(told)
