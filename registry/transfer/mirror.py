"""Many names from registry to registry: what is the same costs a question at each side and moves nothing.

A name that fails stops only itself. Names of a host that serves nothing any more are put off, and tried once
more when all the others are done.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from registry.errors import NotFoundError, RegistryError, Side, TransientError
from registry.model.names import Name
from registry.transfer.engine import Engine
from registry.transfer.one_pair import NameTask
from registry.transfer.pairs import Outcome, Pair, Result, Unlisted
from registry.transfer.retry import Stopped

AT_ONCE = 4  # models that move side by side
_COMPARED = 8  # names that are compared side by side
_LOOK_EVERY = 0.1  # seconds between two looks at whether the run goes on
_LET_GO_WITHIN = 1.0  # seconds that the names on their way get to let go, once the run was told to stop


class Mirror:
    """One run over many names; `tell` is called with each result, one at a time.

    Without `keep_going`, no further name is begun once one has failed.
    """

    def __init__(
        self, engine: Engine, work: NameTask, tell: Callable[[Result], None], *, keep_going: bool = True
    ) -> None:
        self._engine = engine
        self._work = work
        self._tell = tell
        self._keep_going = keep_going
        self._copying = threading.Semaphore(engine.at_once)
        self._put_off: deque[Pair] = deque()
        self._moved_before: Counter[Name] = Counter()  # bytes, for a name that was put off
        self._failed_again: dict[tuple[Side, str], RegistryError] = {}  # hosts that failed again at the end
        self._bug: BaseException | None = None
        self._failed = False
        self._listing = threading.Lock()
        self._telling = threading.Lock()

    def run(self, pairs: Iterable[Pair | Unlisted]) -> None:
        """Mirror every pair. Stopped once the engine was; what arrived is kept."""
        self._all(iter(pairs), last=False)
        put_off, self._put_off = self._put_off, deque()
        self._all(iter(put_off), last=True)

    def _all(self, pairs: Iterator[Pair | Unlisted], *, last: bool) -> None:
        threads = [
            threading.Thread(target=self._work_off, args=(pairs, last), daemon=True) for _ in range(_COMPARED)
        ]
        for thread in threads:
            thread.start()
        stop, clock = self._engine.options.stop, self._engine.options.clock
        while any(thread.is_alive() for thread in threads) and not stop.is_set() and self._bug is None:
            next(thread for thread in threads if thread.is_alive() or thread is threads[-1]).join(_LOOK_EVERY)
        deadline = clock() + _LET_GO_WITHIN
        for thread in threads:
            thread.join(max(0.0, deadline - clock()))
        if self._bug is not None:
            raise self._bug
        if stop.is_set():
            raise Stopped

    def _work_off(self, pairs: Iterator[Pair | Unlisted], last: bool) -> None:
        """A thread's life: one name after another, until there is none."""
        try:
            while (pair := self._next(pairs)) is not None:
                if isinstance(pair, Unlisted):
                    self._done(Result(pair.source, pair.destination, Outcome.FAILED, error=pair.error))
                elif not last and self._is_given_up(pair):
                    self._put_off.append(pair)
                else:
                    self._one(pair, last)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that called `run`
            self._bug = self._bug or error

    def _next(self, pairs: Iterator[Pair | Unlisted]) -> Pair | Unlisted | None:
        with self._listing:
            if (self._failed and not self._keep_going) or self._bug is not None:
                return None
            if self._engine.options.stop.is_set():
                return None
            return next(pairs, None)

    def _one(self, pair: Pair, last: bool) -> None:
        try:
            if last and (failed := self._failed_before(pair)) is not None:
                raise failed
            result = self._result(pair)
        except TransientError as error:
            if not last and self._is_given_up(pair):
                self._moved_before[pair.to] += error.moved
                self._put_off.append(pair)
                return
            if last and self._is_given_up(pair):
                self._failed_again[error.side, _host(pair, error.side)] = error
            self._failure(pair, error)
        except RegistryError as error:
            self._failure(pair, error)
        else:
            if before := self._moved_before[pair.to]:
                result = replace(result, transferred=result.transferred + before)
            self._done(result)

    def _result(self, pair: Pair) -> Result:
        work = self._work
        digest, was = work.compare(pair)
        if digest is not None and digest == was:
            outcome, done = Outcome.PRESENT, work.same(pair, digest)
        else:
            try:
                with self._copying:
                    outcome, done = Outcome.COPIED, work.changed(pair, was)
            except NotFoundError:
                if not work.is_gone(pair):
                    raise
                return Result(pair.at_source, pair.at_destination, Outcome.GONE, was=was)
        return Result(
            pair.at_source,
            pair.at_destination,
            outcome,
            done.digest,
            was,
            done.transferred,
            done.would_move,
            done.would_mount,
        )

    # --- what failed ---------------------------------------------------------------------------------

    def _is_given_up(self, pair: Pair) -> bool:
        host = self._engine.host
        return host(Side.SOURCE, pair.name.host).given_up or host(Side.DESTINATION, pair.to.host).given_up

    def _failed_before(self, pair: Pair) -> TransientError | None:
        for side in (Side.SOURCE, Side.DESTINATION):
            error = self._failed_again.get((side, _host(pair, side)))
            if error is not None and self._engine.host(side, _host(pair, side)).given_up:
                return TransientError(f"not tried again: {error.message}", **error.details)
        return None

    def _failure(self, pair: Pair, error: RegistryError) -> None:
        error.name = error.name or pair.at_source
        moved = error.moved + self._moved_before[pair.to]
        ends = pair.at_source, pair.at_destination
        self._done(Result(*ends, Outcome.FAILED, pair.said, pair.was, transferred=moved, error=error))

    def _done(self, result: Result) -> None:
        with self._telling:
            self._failed = self._failed or result.outcome is Outcome.FAILED
            self._tell(result)


def _host(pair: Pair, side: Side) -> str:
    return pair.name.host if side is Side.SOURCE else pair.to.host
