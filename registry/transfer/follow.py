"""Following: a blob that another copy on this machine receives into the same place is waited for."""

from __future__ import annotations

from collections.abc import Callable

from registry.contracts import BusyElsewhere
from registry.errors import Side, StorageError, TransientError
from registry.model.manifests import Descriptor
from registry.transfer.retry import Patience, Stopped

_LOOK_EVERY = 0.2  # seconds between two looks at the other copy's progress
_OURS = 30.0  # seconds without a byte after which a copy of this same process is not waited for any more


def follow(other: BusyElsewhere, blob: Descriptor, patience: Patience, show: Callable[[int], None]) -> None:
    """Wait until the other copy ends, well or not; `show` is told how many bytes it has.

    Gives up where it makes no progress for as long as patience lasts: TransientError, or StorageError where
    it is this same process that has the lock.
    """
    give_up_after = patience.rule.give_up_after
    if other.ours:
        give_up_after = min(_OURS, give_up_after)
    written, since = other.written(), patience.clock()
    while not patience.stop.wait(_LOOK_EVERY):
        if other.over():
            return
        show(other.received())
        before, written = written, other.written()
        if written != before:
            since = patience.clock()
        elif patience.clock() - since > give_up_after:
            raise _stuck(other, blob, patience.clock() - since)
    raise Stopped


def _stuck(other: BusyElsewhere, blob: Descriptor, seconds: float) -> StorageError | TransientError:
    message = (
        f"blob {blob.digest.short}: {other.who} has it locked, and wrote nothing of it for {seconds:.0f} s"
    )
    if other.ours:
        error: StorageError | TransientError = StorageError(message)
    else:
        look = f"ps -p {other.process} shows that process" if other.process else ""
        error = TransientError(message, hint=look, answered=True)
    error.side = Side.DESTINATION
    return error
