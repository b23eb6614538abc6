"""A mirror of many names: one round of it, shown while it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from cli import mirror_extraneous, transfers
from cli.allocator import keep_buffers
from cli.mirror_names import MirrorNames
from cli.mirror_places import shown
from cli.mirror_report import Round
from cli.options import Invocation
from cli.progress import Watcher
from cli.render import counted, size
from cli.settings.sync_file import MirrorEntry
from registry.errors import InvalidError, RegistryError
from registry.transfer.mirror import AT_ONCE, Mirror
from registry.transfer.one_pair import Copying, Looking
from registry.transfer.pairs import Outcome, Result

if TYPE_CHECKING:
    from registry.connect import Registries

_SAID_EVERY = 5.0  # seconds between two lines on how far it is


class Rounds:
    """What every round of one mirror shares: what was learned of hosts.

    `connect` says how registries are reached. Each round has connections of its own: certificates, and what
    says who we are, may be other ones by then.
    `keep_going`: one name that fails ends nothing. `delete`: tags that a source has no more go.
    """

    def __init__(
        self,
        invocation: Invocation,
        connect: Callable[[], AbstractContextManager[Registries]],
        watcher: Watcher,
        entries: Sequence[MirrorEntry],
        *,
        keep_going: bool,
        delete: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        keep_buffers()
        self.engine = transfers.engine(invocation, watcher, self._interrupt, AT_ONCE)
        self._invocation = invocation
        self._connect = connect
        self._opened: Registries | None = None  # in a round
        self._begun = False
        self._watcher = watcher
        self._entries = entries
        self._keep_going = keep_going
        self._delete = delete
        self._clock = clock
        self._noted: set[str] = set()

    def round(self) -> Round:
        """All names once. Stopped when the engine is.

        Where nobody can be reached, as a file of passwords is being written, say, each entry is a failure;
        in the first round that is a mistake of who began it.
        """
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(self._connect())
            except RegistryError as error:
                if not self._begun:
                    raise
                return self._failed(error)
            self._begun, self._opened = True, opened
            try:
                return self._round(opened)
            finally:
                self._opened = None

    def _failed(self, error: RegistryError) -> Round:
        return Round(
            [
                Result(shown(self._invocation, entry.source), entry.destination, Outcome.FAILED, error=error)
                for entry in self._entries
            ],
            0.0,
            self._invocation.settings.on("dry_run"),
        )

    def _interrupt(self) -> None:
        if self._opened is not None:
            self._opened.interrupt()

    def _round(self, opened: Registries) -> Round:
        began = self._clock()
        dry_run = self._invocation.settings.on("dry_run")
        results: list[Result] = []
        self.engine.forgive()
        names = MirrorNames(self._invocation, opened, self.engine, self._entries, self._noted)
        work = Looking(self.engine) if dry_run else Copying(self.engine)
        try:
            mirror = Mirror(self.engine, work, self._told(results), keep_going=self._keep_going)
            mirror.run(names.pairs())
            deleted = self._deleted(names, results, dry_run=dry_run) if self._delete else ()
        finally:
            self._watcher.close()
        stopped = not (names.ended or self._keep_going or self._is_all(results))
        return Round(results, self._clock() - began, dry_run, deleted, stopped)

    def _is_all(self, results: Sequence[Result]) -> bool:
        """Whether the only source failed as a whole: then there are no other names to go on with."""
        whole = shown(self._invocation, self._entries[0].source)
        return len(self._entries) == 1 and [each.source for each in results] == [whole]

    def _told(self, results: list[Result]) -> Callable[[Result], None]:
        """What takes down each result, and says once in a while how far it is."""
        said = self._clock()

        def tell(result: Result) -> None:
            nonlocal said
            results.append(result)
            if self._clock() - said >= _SAID_EVERY:
                said = self._clock()
                moved = size(sum(each.transferred for each in results))
                failed = sum(each.outcome is Outcome.FAILED for each in results)
                told = f"{counted(len(results), 'name')} done, {failed} failed, {moved} moved"
                self._invocation.terminal.note(f"ferry: {told}")

        return tell

    def _deleted(self, names: MirrorNames, results: list[Result], *, dry_run: bool) -> list[str]:
        """The tags that went, or would; one that could not is a failure among the results."""
        if names.incomplete:
            self._invocation.terminal.complain("ferry: not every list was read, so nothing is deleted")
            return []
        found = []
        for place in names.mirrored.values():
            try:
                extraneous = mirror_extraneous.find(place, results, names.left_out(place))
            except RegistryError as error:
                results.append(Result("", place.where, Outcome.FAILED, error=error))
            else:
                found += [extraneous] if extraneous else []
        if not found:
            return []
        if dry_run:
            return [row for each in found for row in each.rows()]
        gone: list[str] = []

        def done(destination: str, error: RegistryError | None) -> None:
            if error is None:
                gone.append(destination)
            else:
                results.append(Result("", destination, Outcome.FAILED, error=error))

        try:
            agreed = mirror_extraneous.agreed(self._invocation, found)
        except InvalidError as error:  # what was mirrored is told all the same
            for each in found:
                results.append(Result("", each.place.where, Outcome.FAILED, error=error))
            return []
        if agreed:
            mirror_extraneous.delete(found, done)
        return gone
