"""What a listener holds in memory of its requests' bodies: as much as it may, and no longer than it must."""

from __future__ import annotations

import gc
import logging
import time
import weakref

import pytest
from raw_sockets import Kept, Serve, head, rest, status
from waiting import until

from registry.errors import InvalidError, StorageError
from registry.net.listener import listener
from registry.wire.messages import Accept, Request, Response, accept_small


def test_memory_for_bodies_is_bounded_and_who_stands_still_makes_room(serve: Serve) -> None:
    served = serve(lambda _: accept_small(lambda _: Response(200)), memory=5_000_000, stalled=0.2)
    half = head("PUT", "/x", "Content-Length: 3000000") + "half"
    still = served.connect(half)
    until(lambda: served.listener.connections.held == 3_000_000)
    assert status(served.connect(half)) == 503, "there is no room, and the first has just moved"
    time.sleep(0.25)
    served.connect(half)
    assert rest(still) == b"", "whoever stands still is let go"
    assert served.listener.connections.held == 3_000_000


# --- connections and descriptors -----------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", ["write", "then", "crash"])
def test_a_body_that_is_refused_is_not_in_memory_any_more(
    serve: Serve, fails_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[weakref.ref[Piece]] = []
    monkeypatch.setattr(logging.getLogger(listener.__name__), "disabled", True)  # pytest keeps what is logged

    class Piece(bytearray):
        """A body, or a part of it."""

    class Refuses(Kept):
        def write(self, data: bytes) -> None:
            piece = Piece(data)
            bodies.append(weakref.ref(piece))
            if fails_at == "write":
                raise StorageError("a disk that fails")
            self.piece = piece

    def refuse(piece: Piece) -> Response:
        if fails_at == "crash":
            raise LookupError
        raise InvalidError(f"{len(piece)} bytes that are no manifest")

    def answer(_request: Request) -> Accept:
        kept = Refuses()
        return Accept(kept, lambda: refuse(kept.piece), 10)

    served = serve(answer)
    gc.disable()
    try:
        opened = served.connect(head("PUT", "/x", "Content-Length: 6") + "a body")
        assert status(opened) in (400, 500, 503)
        served.record()
        until(lambda: len(bodies) == 1 and bodies[0]() is None)
    finally:
        gc.enable()
