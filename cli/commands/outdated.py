"""Which models of the local store are others by now at their registries, and bringing them up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from cli import naming, sources, standings, transfers
from cli.batch import each
from cli.exits import KEPT_HERE
from cli.options import MOVING, NETWORK, STORE, Invocation, command
from cli.plans import PlannedCopy
from cli.render import Complaints, Document, counted, error_document, size, visible
from cli.standings import Compared, Failed, Row
from registry.connect import Registries
from registry.errors import InvalidError, NotFoundError, exit_code
from registry.model.standing import Standing
from registry.targets.store import Store
from registry.targets.store_destinations import Unmoved
from registry.transfer.retry import Stopped

_QUIET = (Standing.CURRENT, Standing.ONLY_HERE, Standing.MADE_HERE, Standing.CLOUD)
_SENTENCES = {
    Standing.CURRENT: "{name} is up to date",
    Standing.ONLY_HERE: "{name} is only here: {host} has no {origin}",
    Standing.MADE_HERE: "{name} was made here: there is no registry to update it from",
    Standing.CLOUD: "{name} runs in the cloud, and nothing of it is kept here",
    Standing.CHANGED: "{name} was changed here since it was pulled",
    Standing.DIVERGED: "{name} was changed here and at {host} since it was pulled",
    Standing.UNKNOWN: "{name} is another at {host}, and nothing tells which of the two was changed",
}


@command(*STORE, *NETWORK, "give_up_after", beside=True)
@click.argument("names", metavar="[NAME...]", nargs=-1)
def outdated(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Compare models with their registries: digests only, nothing is fetched.

    COST is what an update would fetch.

    \b
      ferry outdated models.acme.example/acme/tiny:1.0
      ferry outdated models.acme.example/acme/tiny:1.0 --format json
    """
    wanted = [naming.parse(invocation, name) for name in names]
    with sources.store(invocation) as store, sources.connections(invocation) as opened:
        engine = transfers.engine(invocation, transfers.watcher_of_many(invocation), opened.interrupt)
        transfers.stopped_by(engine)
        rows = standings.compared(invocation, store, opened, engine, wanted or standings.every(store))
    errors = [row.error for row in rows if isinstance(row, Failed)]
    if invocation.terminal.json:
        invocation.terminal.document([_document(row) for row in rows])
    else:
        _tell(invocation, rows, named=bool(wanted))
    complaints = Complaints(invocation.terminal)  # a host that is down is told once
    for error in errors:
        complaints.tell(error)
    return exit_code([error.exit for error in errors])


@command(*STORE, *NETWORK, *MOVING, goes_on=KEPT_HERE)
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every model of the local store.")
def update(invocation: Invocation, names: tuple[str, ...], everything: bool) -> int:
    """Fetch what moved at the registry since it was pulled; what moved here is left alone.

    \b
      ferry update models.acme.example/acme/tiny:1.0 --dry-run
      ferry update models.acme.example/acme/tiny:1.0
    """
    if bool(names) == everything:
        raise InvalidError(
            "several names, or --all" if names else "which models? name them, or say --all",
            hint="ferry outdated shows what an update would fetch",
        )
    wanted = [naming.parse(invocation, name) for name in names]
    watcher = transfers.watcher(invocation)
    with sources.store(invocation, watcher.note) as store, sources.connections(invocation) as opened:
        copies = transfers.Copies(invocation, watcher, opened)
        transfers.stopped_by(copies.engine)
        rows = standings.compared(invocation, store, opened, copies.engine, wanted or standings.every(store))

        def act(row: Row) -> tuple[Document, str]:
            if copies.engine.options.stop.is_set():
                raise Stopped
            if isinstance(row, Failed):
                raise row.error
            if row.standing is Standing.OUTDATED:
                return copies.made(row.name, lambda _: planned_update(store, opened, row))
            return _left_alone(row, asked=bool(wanted))

        count = len(rows)
        if everything and not invocation.terminal.json and not invocation.settings.on("verbose"):
            rows = [row for row in rows if isinstance(row, Failed) or row.standing not in _QUIET]
            if not rows:
                invocation.terminal.line("every model is up to date")
                return 0
        return each(invocation, rows, act, listed=everything, untold=count - len(rows))


def planned_update(store: Store, opened: Registries, row: Compared) -> PlannedCopy:
    """The copy that updates it, unless somebody changed it here since it was compared, or does meanwhile."""
    if store.current(row.name) != row.here:
        raise InvalidError(f"{row.name} was changed here just now", hint="run the same command again")
    planned = transfers.pulled(opened, store, row.origin, row.name)
    return replace(planned, destination=Unmoved(store, row.here))


def _left_alone(row: Compared, *, asked: bool) -> tuple[Document, str]:
    """What is said of a model that is not updated; an error where it was asked for, and differs."""
    sentence = _sentence(row)
    if asked and row.standing is Standing.ONLY_HERE:
        raise NotFoundError(sentence, host=row.origin.host)
    if asked and row.standing not in _QUIET:
        raise InvalidError(
            sentence, hint=f"ferry pull {_pulled(row)} takes the one at {row.origin.host} instead"
        )
    return _document(row), visible(sentence)


def _sentence(row: Compared) -> str:
    said = {"name": str(row.name), "host": row.origin.host, "origin": row.origin.repository}
    return _SENTENCES[row.standing].format_map(said)


def _pulled(row: Compared) -> str:
    return str(row.name) if row.origin == row.name else f"{row.origin} --as {row.name}"


def _document(row: Row) -> Document:
    if isinstance(row, Failed):
        return error_document(row.error)
    return {
        "name": str(row.name),
        "state": str(row.standing),
        "digest": str(row.here),
        "there": str(row.there) if row.there else None,
        "origin": str(row.origin) if row.standing is not Standing.MADE_HERE else None,
        "cost": row.cost,
    }


def _tell(invocation: Invocation, rows: Sequence[Row], *, named: bool) -> None:
    whole = named or invocation.settings.on("verbose")
    good = [row for row in rows if isinstance(row, Compared)]
    shown = [row for row in rows if isinstance(row, Failed) or whole or row.standing not in _QUIET]
    if shown:
        head = ("NAME", "HERE", "THERE", "STATE", "COST")
        invocation.terminal.table(head, [_cells(row) for row in shown])
    late = [row for row in good if row.standing is Standing.OUTDATED]
    models = counted(len(good), "model")
    if not good and rows:
        invocation.terminal.line("nothing could be compared")
        return
    if failed := len(rows) - len(good):
        models = f"{models} compared, {failed} could not be"
    if not late:
        invocation.terminal.line(f"{models}, none is outdated")
        return
    missing = {digest: length for row in late for digest, length in (row.missing or {}).items()}
    cost = sum(missing.values())  # what several are made of is fetched once
    which = " ".join(visible(str(row.name)) for row in late) if named else "--all"
    invocation.terminal.line(f"{models}, {len(late)} outdated: ferry update {which} fetches {size(cost)}")
    left = sum(row.standing not in (*_QUIET, Standing.OUTDATED) for row in good)
    if left:
        invocation.terminal.note(f"ferry: what was changed here, or may have been ({left}), is left alone")


def _cells(row: Row) -> tuple[str, ...]:
    """A model's line of the table."""
    if isinstance(row, Failed):
        return (str(row.name), "-", "-", "failed", "-")
    there = row.there.short if row.there else "-"
    cost = size(row.cost) if row.cost is not None else "-"
    return (str(row.name), row.here.short, there, str(row.standing), cost)
