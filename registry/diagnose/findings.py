"""What was found out on each hop of the way to a model, and how a hop is looked at within bounded time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from registry.errors import Reason, RegistryError, TransientError

SECONDS = 10.0  # what one hop may take


class HopState(StrEnum):
    """How a hop is."""

    OK = "ok"
    NOTE = "note"  # it works, and somebody should know
    FAILED = "failed"
    SKIPPED = "skipped"  # not looked at: there was no need, or one before it failed


@dataclass(frozen=True, slots=True)
class Finding:
    """One hop: what was seen there in a sentence; `error` is what a note or failure means, for advice."""

    hop: str
    state: HopState
    seen: str
    error: RegistryError | None = None


def ok(hop: str, seen: str) -> Finding:
    """Nothing is wrong."""
    return Finding(hop, HopState.OK, seen)


def note(hop: str, seen: str, error: RegistryError | None = None) -> Finding:
    """It works."""
    return Finding(hop, HopState.NOTE, seen, error)


def failed(hop: str, error: RegistryError, seen: str = "") -> Finding:
    """It does not; `seen` says more than the error."""
    return Finding(hop, HopState.FAILED, seen or error.message, error)


def skipped(hop: str, why: str) -> Finding:
    """It was not looked at."""
    return Finding(hop, HopState.SKIPPED, why)


Look = Callable[[], Finding]
Hops = Iterable[tuple[str, Look]]


def look_at(hops: Hops, host: str = "", seconds: float = SECONDS) -> Iterator[Finding]:
    """Each hop in order, at most `seconds` for each; behind the first that fails, nothing is looked at.

    `host` is whom they have to do with, "" where it is this machine alone.
    """
    broken = ""
    for hop, look in hops:
        finding = (
            skipped(hop, f"not looked at: {broken} comes first")
            if broken
            else _seen(hop, look, host, seconds)
        )
        yield finding
        if finding.state is HopState.FAILED:
            broken = hop


def _seen(hop: str, look: Look, host: str, seconds: float) -> Finding:
    """What `look` finds, in a thread of its own, which is left behind when its time is over: some calls wait
    for ever (a resolver, a helper program), or as long as a peer goes on dripping."""
    found: list[Finding] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(look())
        except RegistryError as error:
            found.append(failed(hop, error))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name=hop, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return found[0] if found else failed(hop, _given_up(hop, host, seconds))


def _given_up(hop: str, host: str, seconds: float) -> TransientError:
    reason = Reason.LINE_BROKE if host else Reason.NONE
    if hop == "dns":  # no host was asked yet
        reason = Reason.NO_SUCH_HOST
    return TransientError(f"it was not done within {seconds:g} s", host=host, reason=reason)
