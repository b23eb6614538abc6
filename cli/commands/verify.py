"""Whether the local store is what it says: every byte of it read, and what is wrong named."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import click

from cli import naming, sources, transfers
from cli.batch import Document
from cli.options import STORE, Invocation, command
from cli.progress import Watcher
from cli.render import complain, error_document, size, visible
from registry.contracts import How
from registry.errors import CorruptError, NotFoundError, RegistryError, exit_code
from registry.model.names import Name
from registry.targets.store import Store
from registry.targets.verify import Finding, Held, Inventory, State
from registry.transfer.side_by_side import processors, side_by_side

_TOLD_SPANS = 3
_COLOURS = {State.DAMAGED: "red", State.MISSING: "red", State.EXTRA: "yellow", State.GOOD: "green"}


@command(*STORE, "progress", beside=True)
@click.argument("names", metavar="[NAME...]", nargs=-1)
def verify(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Read every byte of these models, or of the whole store.

    What is damaged, missing, or needed by no model is named.

    \b
      ferry verify
      ferry verify tiny --format json
    """
    wanted = [naming.parse(invocation, name) for name in names]
    watcher = transfers.watcher(invocation)
    with sources.store(invocation, watcher.note) as store:
        inventory = store.verify.inventory(wanted)
        results = _looked(store, inventory, watcher, _label(wanted, inventory))
    return _tell(invocation, inventory, results)


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
    return str(wanted[0]) if len(wanted) == 1 else f"{inventory.models} models"


def _looked(
    store: Store, inventory: Inventory, watcher: Watcher, label: str
) -> list[Finding | RegistryError]:
    """What became of each blob, in the inventory's order; all processors read and hash."""
    lock = threading.Lock()
    watcher.begin(label, [held.blob for held in inventory.blobs])

    def look(number: int, held: Held) -> tuple[int, Finding | RegistryError | None]:
        shown = _Shown(watcher, label, lock, held)
        try:
            found: Finding | RegistryError | None = store.verify.look(held, shown)
        except RegistryError as error:
            error.name = error.name or str(held.names[0])
            found = error
        with lock:
            watcher.done(label, held.blob, How.PRESENT)
        return number, found

    results: dict[int, Finding | RegistryError] = {}
    tasks = [partial(look, number, held) for number, held in enumerate(inventory.blobs)]
    for result in side_by_side(tasks, processors()):
        if isinstance(result, Exception):
            raise result
        if result[1] is not None:
            results[result[0]] = result[1]
    watcher.close()
    return [results[number] for number in sorted(results)]


def _tell(invocation: Invocation, inventory: Inventory, results: Sequence[Finding | RegistryError]) -> int:
    """Say what was found; the exit code."""
    extra = [Finding(held, State.EXTRA) for held in inventory.extra]
    findings = [*(each for each in results if isinstance(each, Finding)), *extra]
    errors = [each for each in results if isinstance(each, RegistryError)]
    if invocation.terminal.json:
        rows: list[Document] = [_row(each) for each in findings]
        rows += [{"name": each.name, "digest": None, **error_document(each)} for each in errors]
        rows += [
            {
                "name": str(each.name),
                "digest": None,
                "state": "damaged",
                "spans": [],
                **error_document(each.error),
            }
            for each in inventory.unreadable
        ]
        invocation.terminal.document(rows)
    else:
        _tell_text(invocation, inventory, findings)
    for error in errors:
        complain(error, invocation.terminal, short=invocation.terminal.json)
    codes = [error.exit for error in errors]
    codes += [CorruptError.exit for _ in inventory.unreadable]
    codes += [_EXITS[each.state] for each in findings if each.state in _EXITS]
    return exit_code(codes)


_EXITS = {State.DAMAGED: CorruptError.exit, State.MISSING: NotFoundError.exit}


def _row(found: Finding) -> Document:
    held = found.held
    return {
        "name": str(held.names[0]) if held.names else None,
        "digest": str(held.blob.digest),
        "state": str(found.state),
        "spans": [[span.offset, span.length] for span in found.spans],
        "size": held.blob.size,
        "names": [str(name) for name in held.names],
    }


def _tell_text(invocation: Invocation, inventory: Inventory, findings: Sequence[Finding]) -> None:
    terminal = invocation.terminal
    for unreadable in inventory.unreadable:
        terminal.line(f"{terminal.paint('damaged', 'red')}  manifest of {visible(str(unreadable.name))}")
        terminal.note(f"ferry: {visible(unreadable.error.message)}")
    for found in findings:
        if found.state is not State.GOOD or invocation.settings.on("verbose"):
            terminal.line(_line(found, terminal.paint(f"{found.state:<8}", _COLOURS[found.state])))
    terminal.line(_summary(inventory, findings))


def _line(found: Finding, state: str) -> str:
    users = ", ".join(map(str, found.held.names)) or "no model needs it: ferry prune removes it"
    text = f"{state} {found.held.blob.digest.short}  {size(found.held.blob.size):>7}  {visible(users)}"
    if not found.spans:
        return text
    told = ", ".join(f"{span.offset}-{span.end}" for span in found.spans.items[:_TOLD_SPANS])
    more = len(found.spans.items) - _TOLD_SPANS
    return f"{text}  bytes {told}{f' and {more} more spans' if more > 0 else ''}"


def _summary(inventory: Inventory, findings: Sequence[Finding]) -> str:
    """`12 blobs of 3 models, 9.1 GB: 11 good, 1 damaged`."""
    counts = {state: sum(each.state is state for each in findings) for state in State}
    whole = sum(each.held.blob.size for each in findings if each.state is not State.EXTRA)
    needed = len(findings) - counts[State.EXTRA]
    told = [f"{count} {state}" for state, count in counts.items() if count]
    if inventory.unreadable:
        told.append(f"{len(inventory.unreadable)} manifest{'s' * (len(inventory.unreadable) > 1)} unreadable")
    blobs, models = (
        f"{n} {what}{'s' * (n != 1)}" for n, what in ((needed, "blob"), (inventory.models, "model"))
    )
    return f"{blobs} of {models}, {size(whole)}: {', '.join(told) or 'nothing to verify'}"
