"""What the event loop answers itself: requests that a few small rows of the database decide.

Handing such a request to a thread costs more than answering it, and threads that wait for each other cost
most. But the loop serves everybody, so it never waits (DESIGN, rule 16): its own connection gives up at once
where the database is held, and after an answer that took long it leaves all of them to the threads for a
while.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.contracts import Clock
from registry.server.guard import Guard
from registry.server.prompt_depot import ThreadNeededError
from registry.wire.messages import Accept, Request, Response

_LONG = 0.25  # seconds for one answer: a disk that does not keep up, or a table that has grown too large
_WHILE = 5.0
_UNAVAILABLE = 503


@dataclass(slots=True)
class Prompt:
    """Asks `guard`, which answers without waiting or with 503; `clock` in seconds, from one thread only."""

    guard: Guard
    clock: Clock
    _not_before: float = field(default=float("-inf"))

    def __call__(self, request: Request) -> Response | Accept | None:
        """The answer; None where a thread has to find it."""
        began = self.clock()
        if began < self._not_before or not self.guard.has(request):
            return None
        answer = self._asked(request)
        ended = self.clock()
        if ended - began > _LONG:
            self._not_before = ended + _WHILE
        if isinstance(answer, Response) and answer.status == _UNAVAILABLE:
            return None
        return answer

    def _asked(self, request: Request) -> Response | Accept | None:
        try:
            return self.guard(request)
        except ThreadNeededError:
            return None
