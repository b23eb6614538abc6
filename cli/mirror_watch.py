"""A mirror as a service: a round every so often, none before the last has ended, one line each."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from cli.mirror_report import Round, counts, line, row, why
from cli.mirror_run import Rounds
from cli.options import Invocation
from cli.render import visible
from registry.contracts import Clock
from registry.transfer.pairs import Outcome, Result
from registry.transfer.retry import Stopped

_CAUSES = 10  # of failures, that one round tells
_JITTER = 0.1  # of the time between two rounds, more or less, so that a hundred mirrors do not ask at once


class Numbers:
    """What the rounds so far come to, as Prometheus reads it."""

    def __init__(self) -> None:
        self._succeeded: dict[str, float] = {}  # Unix seconds, by source
        self._failing: dict[str, int] = {}
        self._rounds = 0
        self._moved = 0
        self._last = 0.0

    def take(self, done: Round, now: float) -> None:
        """A round ended at `now`, Unix seconds."""
        self._rounds += 1
        self._moved += done.transferred
        self._last = now
        failing = {
            source: sum(result.outcome is Outcome.FAILED for result in results)
            for source, results in _by_source(done.results).items()
        }
        well = {source: now for source, failed in failing.items() if not failed}
        # Put in one step, as the page is read meanwhile. Without a failure every source was read: of those
        # that are no more nothing is told.
        self._failing = failing
        self._succeeded = {**self._succeeded, **well} if done.exit else well

    def text(self) -> str:
        """The page."""
        lines = [
            *_head("ferry_mirror_rounds_total", "counter", "Rounds that ended."),
            f"ferry_mirror_rounds_total {self._rounds}",
            *_head("ferry_mirror_moved_bytes_total", "counter", "Bytes of blobs that moved."),
            f"ferry_mirror_moved_bytes_total {self._moved}",
            *_head("ferry_mirror_last_round_timestamp_seconds", "gauge", "When the last round ended."),
            f"ferry_mirror_last_round_timestamp_seconds {self._last:.3f}",
            *_head("ferry_mirror_last_success_timestamp_seconds", "gauge", "When nothing of it failed last."),
            *_each("ferry_mirror_last_success_timestamp_seconds", self._succeeded),
            *_head("ferry_mirror_failed_names", "gauge", "Names that failed in the last round."),
            *_each("ferry_mirror_failed_names", self._failing),
        ]
        return "\n".join(lines) + "\n"


def watch(
    invocation: Invocation,
    rounds: Rounds,
    every: float,
    numbers: Numbers,
    *,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
    chance: Callable[[], float] = random.random,
) -> int:
    """A round, then wait until it is `every` seconds since that one began; 0 once the engine is stopped."""
    stop = rounds.engine.options.stop
    while not stop.is_set():
        began = clock()
        try:
            done = rounds.round()
        except Stopped:
            break
        numbers.take(done, now())
        _say(invocation, done, now())
        gc.collect()  # what was connected is in circles, and holds a megabyte that Python knows nothing of
        pause = every * (1 + _JITTER * (2 * chance() - 1)) - (clock() - began)
        stop.wait(max(0.0, pause))
    return 0


def _say(invocation: Invocation, done: Round, now: float) -> None:
    """One line a round, and one for each of the first causes of failures."""
    at = datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")
    failed = [result for result in done.results if result.outcome is Outcome.FAILED]
    if invocation.terminal.json:
        moved = {"would_transfer": done.would_move} if done.dry_run else {"transferred": done.transferred}
        mounted = {"would_mount": done.would_mount} if done.would_mount else {}
        gone = {"would_delete" if done.dry_run else "deleted": [*done.deleted]} if done.deleted else {}
        rows = [row(result) for result in failed]
        seconds = round(done.seconds, 3)
        invocation.terminal.event(
            {"at": at, **counts(done), **moved, **mounted, **gone, "seconds": seconds, "failures": rows}
        )
        return
    invocation.terminal.say(f"{at}  {line(done)}")
    causes: dict[str, list[str]] = {}
    for result in failed:
        causes.setdefault(why(result), []).append(result.destination)
    told = [*causes.items()][:_CAUSES]
    for cause, (first, *others) in told:
        more = f" and {len(others)} more" if others else ""
        invocation.terminal.complain(visible(f"ferry: {first}{more}: {cause}"))
    if left := len(failed) - sum(len(where) for _, where in told):
        invocation.terminal.complain(f"ferry: {left} more failed; --format json tells each")


def _by_source(results: Iterable[Result]) -> dict[str, list[Result]]:
    """By the repository that each came from; what could not be deleted came from none, and is where it is."""
    found: dict[str, list[Result]] = {}
    for result in results:
        repository = (result.source or result.destination).partition("@")[0]
        head, slash, last = repository.rpartition("/")
        found.setdefault(f"{head}{slash}{last.partition(':')[0]}", []).append(result)
    return found


def _head(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _each(name: str, values: dict[str, float] | dict[str, int]) -> list[str]:
    return [f'{name}{{source="{_label(source)}"}} {value}' for source, value in sorted(values.items())]


def _label(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')
