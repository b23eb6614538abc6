"""From registry to registry: one name, or many, once or for ever. Nothing is kept here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import mirror_places, naming, sources, transfers, values
from cli.exits import KEPT_THERE, Run
from cli.mirror_report import Round, documents, markdown, show
from cli.options import MOVING, NETWORK, Invocation, choices, command
from cli.plans import PlannedCopy
from cli.render import complain
from cli.settings import files, sync_file
from cli.settings.sync_file import MirrorEntry, SyncFile
from registry.errors import InvalidError, StorageError, exit_code
from registry.model.names import DEFAULT_TAG, Name, is_host
from registry.model.selection import Selection
from registry.transfer.pairs import Referrers

if TYPE_CHECKING:
    from cli.mirror_run import Rounds
    from cli.mirror_watch import Numbers

_OFTEN, _SELDOM = 1.0, 366 * 86400.0  # seconds between two rounds


@command(*NETWORK, *MOVING, goes_on=KEPT_THERE)
@click.argument("source", required=False)
@click.argument("destination", required=False)
@click.option("--file", "file", metavar="SYNC.TOML", help="Many: sources, destinations, filters.")
@click.option("--tags", multiple=True, metavar="GLOB")
@click.option("--exclude", multiple=True, metavar="GLOB")
@click.option("--newest", metavar="N")
@click.option("--referrers", **choices(*Referrers), help="Signatures of what moved, all, none.")
@click.option("--keep-going", is_flag=True)
@click.option("--delete-extraneous", is_flag=True)
@click.option("--summary", metavar="FILE", help="What was done, as Markdown.")
@click.option("--watch", metavar="15m")
@click.option("--metrics-listen", "metrics", metavar="HOST:PORT")
def mirror(
    invocation: Invocation,
    source: str | None,
    destination: str | None,
    file: str | None,
    tags: tuple[str, ...],
    exclude: tuple[str, ...],
    newest: str | None,
    referrers: str | None,
    keep_going: bool,
    delete_extraneous: bool,
    summary: str | None,
    watch: str | None,
    metrics: str | None,
) -> int:
    """Copy SOURCE to DESTINATION, registry to registry; nothing is kept here.

    \b
      ferry mirror models.acme.example/acme/tiny:1.0 other.example/acme/tiny
      ferry mirror models.acme.example/acme other.example/acme --tags '1.*'
    """
    run = click.get_current_context().find_object(Run)
    if watch and run is not None:
        run.service = True
    if metrics and not watch:
        raise InvalidError("--metrics-listen is for a mirror that goes on: --watch 15m")
    if summary and watch:
        raise InvalidError("--summary is of a mirror that ends; --watch says one line a round")
    selection = _selection(tags, exclude, newest)
    wanted = _wanted(source, destination, file, selection, _mode(referrers))
    if delete_extraneous and not file and mirror_places.is_exact(wanted.entries[0].source):
        raise InvalidError(
            f"{source} is one name; --delete-extraneous is for a repository or a namespace",
            hint="--tags '*' means all tags of a repository",
        )
    files.check_summary(summary, json=invocation.settings.json)
    entry = wanted.entries[0]
    many = bool(file or selection or watch or delete_extraneous or summary or "{" in entry.destination)
    if not many and not _is_namespace(entry.source):
        return _one(invocation, entry)
    _check(invocation, wanted, delete=delete_extraneous, watch=bool(watch))
    invocation = _with_rate(invocation, wanted)
    watcher = transfers.watcher_of_many(invocation)
    from cli.mirror_run import Rounds

    rounds = Rounds(
        invocation,
        partial(sources.connections, replace(invocation, terminal=invocation.terminal.noting_once())),
        watcher,
        wanted.entries,
        keep_going=keep_going or bool(watch),
        delete=delete_extraneous,
    )
    transfers.stopped_by(rounds.engine)
    if watch:
        return _watch(invocation, rounds, watch, metrics)
    return _say(invocation, rounds.round(), summary)


def _one(invocation: Invocation, entry: MirrorEntry) -> int:
    """One name."""
    name = naming.parse(invocation, entry.source)
    to = naming.published(invocation, entry.destination, name)
    watcher = transfers.watcher(invocation)
    with sources.connections(invocation) as opened:

        def across(to: Name) -> PlannedCopy:
            return transfers.between(opened, name, to, entry.referrers)

        return transfers.copy_each(invocation, [to], across, watcher, opened)


def _selection(tags: tuple[str, ...], exclude: tuple[str, ...], newest: str | None) -> Selection | None:
    """What the filters choose; None without any."""
    if not (tags or exclude or newest):
        return None
    count = files.checked(values.whole(1, 1_000_000), newest, "--newest", None) if newest else None
    assert count is None or isinstance(count, int)
    return Selection(tags or ("*",), exclude, count)


def _mode(referrers: str | None) -> Referrers:
    wish = referrers or Referrers.CHANGED
    return Referrers(str(files.checked(values.choice(*Referrers), wish, "--referrers", None)))


def _wanted(
    source: str | None,
    destination: str | None,
    file: str | None,
    selection: Selection | None,
    mode: Referrers,
) -> SyncFile:
    """What is to be mirrored."""
    if file:
        if source or destination or selection:
            raise InvalidError("--file says what goes where; SOURCE, DESTINATION and filters stand in it")
        return sync_file.read(Path(file))
    if not source or not destination:
        raise InvalidError(
            "mirror needs SOURCE and DESTINATION, or --file", hint="ferry mirror --help shows how"
        )
    if is_host(source):
        raise InvalidError(f"{source} is a host; add NAMESPACE or NAMESPACE/MODEL")
    if selection:
        _choosable(source)
    elif not _is_namespace(source) and not mirror_places.is_exact(source):
        source = f"{source.rstrip('/')}:{DEFAULT_TAG}"  # as every name without a tag, whatever else is said
    files.checked(sync_file.destination, destination, "DESTINATION", None)
    return SyncFile((MirrorEntry(source, destination, selection or Selection(), mode),))


def _choosable(source: str) -> None:
    """InvalidError for a source that leaves nothing for filters to choose among."""
    if mirror_places.is_exact(source):
        raise InvalidError(f"{source} is one name; filters choose among a repository's tags")


def _is_namespace(source: str) -> bool:
    """HOST/NAMESPACE: one part behind what can only be a host, and no tag."""
    scheme, separator, rest = source.partition("://")
    first, _, path = (rest if separator else scheme).strip("/").partition("/")
    one = bool(path) and "/" not in path and not mirror_places.is_exact(source)
    return one and (bool(separator) or mirror_places.looks_like_host(first))


def _check(invocation: Invocation, wanted: SyncFile, *, delete: bool, watch: bool) -> None:
    """InvalidError for what cannot be meant, before anything is asked."""
    for entry in wanted.entries:
        where = f"{entry.where}: " if entry.where else ""
        try:
            if entry.selection != Selection():
                _choosable(entry.source)
            base = mirror_places.place(invocation, entry.source)
            to = mirror_places.target(invocation, entry.destination, base, base)
            if is_host(entry.destination, destination=True):
                raise InvalidError(f"{entry.destination} is a host; add NAMESPACE or NAMESPACE/MODEL")
            naming.agree_to_host(invocation, _with_host(entry.destination), to)
        except InvalidError as error:
            raise InvalidError(f"{where}{error.message}", hint=error.hint) from None
        if delete:
            _deletable(entry.destination, where)
    if delete and watch and not invocation.settings.on("yes"):
        raise InvalidError("--watch with --delete-extraneous asks nobody", hint="say --yes if that is meant")


def _deletable(destination: str, where: str) -> None:
    """InvalidError where what is deleted may be of a repository that a list left out, or that a tag made."""
    if "{tag}" in destination:
        raise InvalidError(f"{where}--delete-extraneous cannot tell what {{tag}} made at the destination")
    if "{repository}" in destination:
        raise InvalidError(
            f"{where}--delete-extraneous cannot tell which repositories {{repository}} brings together",
            hint="leave it out: each goes to the same path below the destination",
        )


def _with_host(destination: str) -> str:
    """HOST/NAMESPACE spelled so that its host is seen."""
    return (
        f"https://{destination}" if _is_namespace(destination) and "://" not in destination else destination
    )


def _with_rate(invocation: Invocation, wanted: SyncFile) -> Invocation:
    """The file's rate, unless an option or the environment says another."""
    settings = invocation.settings
    if wanted.limit_rate is None or "limit_rate" in settings.options:
        return invocation
    chosen = {**settings.chosen, "limit_rate": wanted.limit_rate}
    return replace(invocation, settings=replace(settings, chosen=chosen))


def _say(invocation: Invocation, done: Round, summary: str | None) -> int:
    """Tell what was done; the exit code. A summary that cannot be written takes nothing from that."""
    terminal = invocation.terminal
    if terminal.json:
        terminal.document(documents(done))
    else:
        show(terminal, done, verbose=invocation.settings.on("verbose"))
    if summary:
        try:
            files.write_summary(Path(summary), markdown(done))
        except StorageError as error:
            complain(error, terminal, short=terminal.json)
            return exit_code((done.exit, error.exit))
    return done.exit


def _watch(invocation: Invocation, rounds: Rounds, watch: str, metrics: str | None) -> int:
    from cli.mirror_watch import Numbers
    from cli.mirror_watch import watch as for_ever

    every = files.checked(values.seconds(_OFTEN, _SELDOM), watch, "--watch", None)
    assert isinstance(every, float)
    numbers = Numbers()
    with _metrics(metrics, numbers):
        return for_ever(invocation, rounds, every, numbers)


@contextmanager
def _metrics(address: str | None, numbers: Numbers) -> Iterator[None]:
    """The page of numbers, while the block lasts."""
    if not address:
        yield
        return
    from registry.net.metrics import MetricsPage

    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidError(f"--metrics-listen {address}: must be HOST:PORT, like 127.0.0.1:9107")
    page = MetricsPage(host.strip("[]"), int(port), numbers.text)
    try:
        yield
    finally:
        page.close()
