"""Models moved by the one verb, or what would move: said alike by every command that does it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from cli import progress, sources
from cli.allocator import keep_buffers
from cli.batch import each
from cli.exits import Run
from cli.options import Invocation
from cli.plans import PlannedCopy, Plans
from cli.progress import Watcher
from cli.render import Document, complain, size, visible
from cli.reports import document, others, referrer_bytes, summary, total
from registry.errors import RegistryError, Side, StorageError, exit_code
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.copy import copy
from registry.transfer.engine import Engine
from registry.transfer.options import Options
from registry.transfer.progress import Report
from registry.transfer.retry import Patience, Rule, Stopped

if TYPE_CHECKING:
    from registry.connect import Registries
    from registry.targets.store import Store
    from registry.transfer.pairs import Referrers


def route(name: str, to: str) -> str:
    """From where to where, in one word where both are called alike."""
    return name if name == to else f"{name} → {to}"


def watcher(invocation: Invocation, models: int = 1) -> Watcher:
    """What shows this run's transfers of so many models; taken away before the run says how it ended."""
    made = progress.observer(invocation.terminal, invocation.settings.get("progress", "auto"), models)
    run = click.get_current_context().find_object(Run)
    if run is not None:
        run.undraw = made.close
    return made


def pulled(opened: Registries, store: Store, name: Name, to: Name) -> PlannedCopy:
    """From a registry into the store, which remembers from where."""
    from registry.targets.origins import ModelOrigin

    def remember(report: Report) -> None:
        store.origins.put(to, ModelOrigin(name, report.manifest.digest))

    def left(blob: Descriptor) -> int:
        return store.missing(blob) or blob.size  # one that is there and wrong is fetched, too

    way = route(str(name), str(to))
    there = opened.remote(name)
    return PlannedCopy(there, name, store, to, way, arrived=remember, left=left, into_store=True)


def watcher_of_many(invocation: Invocation) -> Watcher:
    """What shows a run of many models at once: lines, or JSON lines."""
    wish = invocation.settings.get("progress", "auto")
    return progress.observer(invocation.terminal, wish if wish in ("json", "none") else "many")


def published(store: Store, name: Name, to: Name, here: Digest) -> None:
    """What was published where it came from is no change of this store any more: `here` is its digest."""
    from registry.targets.origins import ModelOrigin

    if to == store.origins.asked(name):
        store.origins.put(name, ModelOrigin(to, here))


def between(opened: Registries, name: Name, to: Name, referrers: Referrers | None = None) -> PlannedCopy:
    """From registry to registry; inside one, the blobs are mounted. What refers to it stays, unless said."""
    from registry.transfer.pairs import Pair, Referrers

    near = name if opened.origin(name) == opened.origin(to) else None
    source, destination = opened.remote(name), opened.remote(to)
    pair = Pair(source, name, destination, to, near, referrers=referrers or Referrers.NEVER)
    return PlannedCopy(source, name, destination, to, route(name.text, to.text), near, pair=pair)


def copy_each(
    invocation: Invocation,
    names: Sequence[Name],
    planned_of: Callable[[Name], PlannedCopy],
    watcher: Watcher,
    opened: Registries,
    summarised: Callable[[Copies, str], None] | None = None,
) -> int:
    """Make the copy of each name, or with --dry-run say what it would move; the exit code.

    `summarised` is told of them, and the run in one line, also where one failed; StorageError counts then.
    """
    keep_buffers()
    copies = Copies(invocation, watcher, opened)
    stopped_by(copies.engine)
    began = time.monotonic()
    raised: RegistryError | None = None
    try:
        code = each(invocation, names, lambda name: copies.made(name, planned_of))
    except RegistryError as error:
        code, raised = error.exit, error
    line = total(copies.done, time.monotonic() - began)
    if len(names) > 1 and not invocation.settings.json:
        invocation.terminal.note(f"ferry: {line}")
    if summarised is not None and not copies.engine.options.stop.is_set():
        try:
            summarised(copies, line)
        except StorageError as error:
            complain(error, invocation.terminal, short=invocation.terminal.json)
            code = exit_code((code, error.exit))
    if raised is not None:
        raise raised
    return code


class Copies:
    """The copies of one run, made one after another; once its engine is stopped, each ends with Stopped."""

    def __init__(self, invocation: Invocation, watcher: Watcher, opened: Registries) -> None:
        self.engine = engine(invocation, watcher, opened.interrupt)
        self.done: list[Document] = []
        self.failed: list[tuple[Name, RegistryError]] = []
        self._invocation = invocation
        self._watcher = watcher
        self._plans = Plans(self.engine)

    def made(self, name: Name, planned_of: Callable[[Name], PlannedCopy]) -> tuple[Document, str]:
        """What was done, or would be: as a document and as text."""
        try:
            planned = planned_of(name)
            with sources.telling_tags(planned.source, planned.name):
                told = self._moved(planned)
        except RegistryError as error:
            if self.engine.options.stop.is_set():
                raise Stopped from error
            self.failed.append((name, error))
            raise
        self.done.append(told)
        return told, _said(told, planned.route, verbose=self._invocation.settings.on("verbose"))

    def _moved(self, planned: PlannedCopy) -> Document:
        if self._invocation.settings.on("dry_run"):
            return self._plans.made(planned)
        source, destination = planned.source, planned.destination
        try:
            if planned.pair is not None:
                from registry.transfer.one_pair import Copying  # only a mirror does

                report, referring = Copying(self.engine).report(planned.pair)
                return document(report) | referrer_bytes(transferred=referring)
            before = self._before(planned)
            report = copy(
                source,
                destination,
                planned.name,
                to=planned.to,
                near=planned.near,
                manifest=planned.manifest,
                engine=self.engine,
            )
            planned.arrived(report)
            return document(report) | others(report.manifest, before)
        finally:
            self._watcher.close()

    def _before(self, planned: PlannedCopy) -> dict[Name, Digest | None]:
        """What the further tags stand for, asked with patience."""
        ask, current = self.engine.ask, planned.destination.current
        return {
            name: ask(partial(current, name), Side.DESTINATION, planned.name, planned.to)
            for name in planned.also
        }


def engine(
    invocation: Invocation, watcher: Watcher, interrupt: Callable[[], None], at_once: int = 1
) -> Engine:
    """What moves this run's models, `at_once` of them side by side, as the settings say.

    `interrupt` wakes every thread that waits for a peer.
    """
    settings = invocation.settings
    said = ("give_up_after", "first_pause")
    rule = Rule(**{key: settings.get(key) for key in said if settings.get(key)})
    stop = threading.Event()

    def note(text: str) -> None:
        if not stop.is_set():  # what peers do then is our own doing
            watcher.note(invocation.terminal.mask(text))

    options = Options(
        patience=lambda: Patience(rule, note=note),
        observer=watcher,
        jobs=settings.get("jobs"),
        interrupt=interrupt,
        stop=stop,
    )
    return Engine(options, at_once=at_once)


def stopped_by(engine: Engine) -> None:
    """A signal stops the engine, and wakes every thread that waits for a peer."""

    def end() -> bool:
        engine.stop()
        return True

    run = click.get_current_context().find_object(Run)
    if run is not None:
        run.stop = end


def _said(told: Document, route: str, verbose: bool) -> str:
    """One line of what was done, or would be; with --verbose, and one a blob."""
    lines = [summary(told, route)]
    blobs = told["blobs"]
    if verbose and isinstance(blobs, list):
        lines += [
            f"  {blob['how'] or 'missing':<9} {blob['digest']}  {size(blob['size'])}  {blob['mediaType']}"
            for blob in blobs
        ]
    return "\n".join(visible(line) for line in lines)
