"""Whether the local store is what it says: every byte of it read, what is wrong named, or mended."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial

import click

from cli import naming, repairs, sources, transfers
from cli.exits import KEPT_HERE, Run
from cli.options import NETWORK, STORE, Invocation, command
from cli.progress import Watcher
from cli.render import Complaints, Document, Terminal, counted, error_document, size, visible
from cli.repairs import BlobOutcome, Verified
from registry.contracts import How
from registry.errors import (
    InvalidError,
    NotFoundError,
    RegistryError,
    StorageError,
)
from registry.model.digests import Digest
from registry.model.names import Name
from registry.targets.store import Store
from registry.targets.verify import BlobCheck, BlobState, Held, Inventory, Unreadable
from registry.transfer.side_by_side import processors, side_by_side

_TOLD_SPANS = 3
_COLOURS = {
    BlobState.DAMAGED: "red",
    BlobState.MISSING: "red",
    BlobState.EXTRA: "yellow",
    BlobState.GOOD: "green",
}


@command(*STORE, *NETWORK, "limit_rate", "jobs", "give_up_after", "progress", beside=True)
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--repair", is_flag=True, help="Fetch what is wrong from where it came from.")
@click.option("--from", "place", metavar="HOST/NAME", help="Fetch it from there instead.")
def verify(invocation: Invocation, names: tuple[str, ...], repair: bool, place: str | None) -> int:
    """Read every byte of these models, or of the whole store, and name what is wrong.

    \b
      ferry verify
      ferry verify tiny --repair --from models.acme.example/acme/tiny:1.0
    """
    wanted = [naming.parse(invocation, name) for name in names]
    if place and not repair:
        raise InvalidError("--from says where to repair from", hint=f"ferry verify --repair --from {place}")
    if place and len(wanted) != 1:
        raise InvalidError("--from is for one model", hint="name the model that is to be repaired")
    watcher = transfers.watcher(invocation)
    run = click.get_current_context().find_object(Run)
    if run is not None:
        run.anew = "; nothing was changed, and the next run reads every byte again"
    with sources.store(invocation, watcher.note) as store:
        inventory = _inventory(store, wanted)
        found = _looked(store, inventory, watcher, _label(wanted, inventory))
        verified = Verified(inventory, found)
        if repair and verified.wrong:
            source = naming.parse(invocation, place) if place else None
            if run is not None:
                run.goes_on = KEPT_HERE  # and what was repaired

            def look(inventory: Inventory) -> list[BlobOutcome]:
                return _looked(store, inventory, watcher, _label((), inventory))

            verified = repairs.repair_all(invocation, store, verified, source, watcher, look)
    return _tell(invocation, verified, advised=not place)


def _inventory(store: Store, wanted: Sequence[Name]) -> Inventory:
    """What the models are made of; NotFoundError says where one came from, or names the tags there are."""
    try:
        return store.verify.inventory(wanted)
    except NotFoundError as error:
        name = next((name for name in wanted if str(name) == error.name), None)
        if name is None:
            raise
        if came := _pull(store, name):
            hint = f"{came} brings it again; what is here of it does not move"
            raise NotFoundError(error.message, hint=hint, name=error.name) from None
        with sources.telling_tags(store, name):
            raise


def _pull(store: Store, name: Name) -> str:
    """The command that fetched a model whose manifest was lost; "" where none did."""
    known = store.origins.get(name)
    if known is None or known.name is None:
        return ""
    return f"ferry pull {known.name.text}{'' if known.name == name else f' --as {name}'}"


class _Shown:
    """One blob's bytes as they are read, shown one thread at a time."""

    def __init__(self, watcher: Watcher, label: str, lock: threading.Lock, held: Held) -> None:
        self._watcher = watcher
        self._label = label
        self._lock = lock
        self._held = held
        self._done = 0

    def __call__(self, length: int) -> None:
        self._done += length
        with self._lock:
            self._watcher.at(self._label, self._held.blob, self._done)


def _label(wanted: Sequence[Name], inventory: Inventory) -> str:
    return str(wanted[0]) if len(wanted) == 1 else counted(inventory.models, "model")


def _looked(store: Store, inventory: Inventory, watcher: Watcher, label: str) -> list[BlobOutcome]:
    """What became of each blob, in the inventory's order; all processors read and hash."""
    lock = threading.Lock()
    watcher.begin(label, [held.blob for held in inventory.blobs])

    def look(number: int, held: Held) -> tuple[int, BlobOutcome | None]:
        shown = _Shown(watcher, label, lock, held)
        error = None
        try:
            found = store.verify.look(held, shown)
        except RegistryError as failed:
            found, error = BlobCheck(held, BlobState.DAMAGED), failed
        with lock:
            watcher.done(label, held.blob, How.PRESENT)
        return number, BlobOutcome(found, error) if found is not None else None

    results: dict[int, BlobOutcome] = {}
    tasks = [partial(look, number, held) for number, held in enumerate(inventory.blobs)]
    for result in side_by_side(tasks, processors()):
        if isinstance(result, Exception):
            raise result
        if result[1] is not None:
            results[result[0]] = result[1]
    watcher.close()
    return [results[number] for number in sorted(results)]


def _tell(invocation: Invocation, verified: Verified, *, advised: bool) -> int:
    """Say what was found, and where `advised` which command fetches what is wrong; the exit code."""
    terminal, inventory = invocation.terminal, verified.inventory
    found = [*verified.found, *(BlobOutcome(BlobCheck(held, BlobState.EXTRA)) for held in inventory.extra)]
    if terminal.json:
        manifests = [_manifest_row(each, verified.fetched) for each in inventory.unreadable]
        terminal.document([*map(_row, found), *manifests])
    else:
        for each in inventory.unreadable:
            state, colour = ("damaged", "red") if each in verified.lost else ("repaired", "green")
            now = verified.fetched.get(each.name)
            told = f"{each.name}, which is {now.short} now" if now else str(each.name)
            terminal.line(f"{terminal.paint(f'{state:<8}', colour)} manifest of {visible(told)}")
            terminal.note(f"ferry: {visible(each.error.message)}")
        for each_found in found:
            if each_found.was or each_found.state is not BlobState.GOOD or invocation.settings.on("verbose"):
                terminal.line(_line(terminal, each_found))
        terminal.line(_summary(verified, found))
        for name in _misnaming(found):
            terminal.note(
                f"ferry: {name} misses a blob as large as one that no model needs: "
                f"its manifest may be damaged, and ferry pull {name} fetches it again"
            )
    errors = [each.error for each in found if each.error is not None] + verified.failures
    complaints = Complaints(terminal)  # a blob of many models is told once
    for error in errors:
        complaints.tell(error)
    if advised and verified.wrong and not any(isinstance(error, StorageError) for error in errors):
        repairing = "NAME --repair --from HOST/NAME" if verified.failures else "--repair"
        terminal.note(f"ferry: ferry verify {repairing} fetches what is wrong")
    return verified.exit


def _misnaming(found: Sequence[BlobOutcome]) -> list[Name]:
    """The models whose manifests may be damaged in a digest: what they mean is here, and nobody's."""
    extra = {each.finding.held.blob.size for each in found if each.state is BlobState.EXTRA}
    missing = [each.finding.held for each in found if each.state is BlobState.MISSING]
    return [*dict.fromkeys(name for held in missing if held.blob.size in extra for name in held.names)]


def _row(found: BlobOutcome) -> Document:
    held = found.finding.held
    return {
        "name": str(held.names[0]) if held.names else None,
        "digest": str(held.blob.digest),
        "state": str(found.state),
        "spans": [[span.offset, span.length] for span in found.finding.spans],
        "size": held.blob.size,
        "names": [str(name) for name in held.names],
        **({"was": str(found.was)} if found.was else {}),
        **(error_document(found.error) if found.error else {}),
    }


def _manifest_row(unreadable: Unreadable, fetched: Mapping[Name, Digest | None]) -> Document:
    """A manifest is no blob: its digest is known once it was fetched."""
    now = fetched.get(unreadable.name)
    row: Document = {"name": str(unreadable.name), "digest": str(now) if now else None, "spans": []}
    if unreadable.name in fetched:
        return {**row, "state": "good", "was": "damaged"}
    return {**row, "state": "damaged", **error_document(unreadable.error)}


def _line(terminal: Terminal, found: BlobOutcome) -> str:
    held, spans = found.finding.held, found.finding.spans
    word = "repaired" if found.was else str(found.state)
    state = terminal.paint(f"{word:<8}", _COLOURS[found.state])
    users = ", ".join(map(str, held.names)) or "no model needs it: ferry prune removes it"
    text = f"{state} {held.blob.digest.short}  {size(held.blob.size):>7}  {visible(users)}"
    if not spans:
        return text
    told = ", ".join(f"{span.offset}-{span.end}" for span in spans.items[:_TOLD_SPANS])
    more = len(spans.items) - _TOLD_SPANS
    return f"{text}  bytes {told}{f' and {more} more spans' if more > 0 else ''}"


def _summary(verified: Verified, found: Sequence[BlobOutcome]) -> str:
    """`12 blobs of 3 models, 9.1 GB: 11 good, 1 damaged`."""
    counts = {state: sum(each.state is state for each in found) for state in BlobState}
    whole = sum(each.finding.held.blob.size for each in found if each.state is not BlobState.EXTRA)
    told = [f"{count} {state}" for state, count in counts.items() if count]
    if verified.lost:
        told.append(f"{counted(len(verified.lost), 'manifest')} unreadable")
    blobs = counted(len(found) - counts[BlobState.EXTRA], "blob")
    models = counted(verified.inventory.models, "model")
    moved = f"; {size(verified.moved)} moved to repair it" if verified.moved else ""
    return f"{blobs} of {models}, {size(whole)}: {', '.join(told) or 'nothing to verify'}{moved}"
