"""One fault for ever, at the source: a registry that does it each time ends the transfer, in time and truly.

What a destination does for ever is in test_kept.py, and for registries in tests/targets/test_one_fault.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faults import NAME, Time
from sample_models import GRAIN, Model, get, put

from registry.connect import in_process
from registry.contracts import Target
from registry.errors import (
    CorruptError,
    DeniedError,
    ProtocolError,
    RegistryError,
    Side,
    TransientError,
)
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.table import Unguarded
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.store import Store
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, Transport

GIVE_UP = 100.0
PAUSE = 30.0  # the longest
STALL = 60.0
SIZE = 30 * GRAIN
MODEL = Model.random(41, SIZE)
HALF = SIZE // 2


@dataclass
class Source:
    """A registry over its application; each answer with bytes of the weights goes through `fault`."""

    fault: Callable[[Source, Request, Response], Response]
    time: Time = field(default_factory=Time)
    asked: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self.plain = in_process(Unguarded(App(MemoryDepot())))
        put(registry(self.plain), NAME, MODEL)

    def __call__(self, request: Request) -> Response:
        answer = self.plain(request)
        weights = MODEL.manifest.layers[0].digest.hex in request.url and request.method == "GET"
        if not weights or answer.status not in (200, 206):
            return answer
        self.asked += 1
        return self._counting(self.fault(self, request, answer))

    def _counting(self, answer: Response) -> Response:
        def counted() -> Iterator[bytes]:
            for chunk in pieces(answer):
                self.sent += len(chunk)
                yield chunk

        return replace(answer, body=counted())


def registry(transport: Transport) -> Remote:
    return Remote(Peer(transport, Origin("https", "models.example", 443)), first_part=4 * GRAIN)


def pieces(answer: Response) -> Iterator[bytes]:
    data = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)  # type: ignore[arg-type]
    return (data[at : at + 10_000] for at in range(0, len(data), 10_000))


def first_of(request: Request) -> int:
    """The offset that is asked for."""
    return int(request.headers.get("Range").removeprefix("bytes=").partition("-")[0] or 0)


# --- the faults ----------------------------------------------------------------------------------------


def answers(status: int, **headers: str) -> Callable[[Source, Request, Response], Response]:
    def fault(_source: Source, _request: Request, _answer: Response) -> Response:
        return Response(
            status, Headers({key.replace("_", "-"): value for key, value in headers.items()}), b""
        )

    return fault


def in_the_middle(status: int) -> Callable[[Source, Request, Response], Response]:
    def fault(source: Source, _request: Request, answer: Response) -> Response:
        return answer if source.sent < HALF else Response(status, Headers(), b"")

    return fault


def refuses(_source: Source, _request: Request, _answer: Response) -> Response:
    raise TransientError("models.example refused the connection", host="models.example")


def stalls(source: Source, _request: Request, _answer: Response) -> Response:
    source.time.sleep(STALL)
    raise TransientError(f"models.example said nothing for {STALL:.0f} s", host="models.example")


def breaks(_source: Source, request: Request, answer: Response) -> Response:
    """At the same byte of the blob."""
    return replace(answer, body=_broken(answer, HALF - first_of(request)), length=answer.length)


def _broken(answer: Response, after: int) -> Iterator[bytes]:
    for chunk in pieces(answer):
        if len(chunk) > after:
            yield chunk[: max(after, 0)]
            raise TransientError("models.example closed the connection", host="models.example", answered=True)
        after -= len(chunk)
        yield chunk


def sends_nothing(_source: Source, _request: Request, answer: Response) -> Response:
    return replace(answer, body=iter(()))


def ends_early(_source: Source, request: Request, answer: Response) -> Response:
    """At the same byte of the blob, in peace."""
    data = b"".join(pieces(answer))
    return replace(answer, body=iter([data[: max(0, HALF - first_of(request))]]))


def has_no_ranges_and_breaks(source: Source, request: Request, _answer: Response) -> Response:
    return replace(whole_of(source, request), body=_broken(whole_of(source, request), HALF))


def whole_of(source: Source, request: Request) -> Response:
    return source.plain(replace(request, headers=request.headers.without("Range")))


def lies(_source: Source, _request: Request, answer: Response) -> Response:
    return replace(answer, headers=answer.headers.with_("Content-Range", "bytes 7-8/9"))


def garbles(_source: Source, _request: Request, answer: Response) -> Response:
    return replace(answer, headers=answer.headers.with_("Content-Range", "octets many"))


def flips(_source: Source, request: Request, answer: Response) -> Response:
    data, at = bytearray(b"".join(pieces(answer))), HALF - first_of(request)
    if 0 <= at < len(data):
        data[at] ^= 1
    return replace(answer, body=iter([bytes(data)]))


Row = tuple[Callable[[Source, Request, Response], Response], type[RegistryError], str, float]

# What it does each time; the error, words of it; how many times the size may come in all.
FAULTS: dict[str, Row] = {
    "503": (answers(503), TransientError, "answered 503", 0),
    "500": (answers(500), TransientError, "answered 500", 0),
    "429": (answers(429), TransientError, "answered 429", 0),
    "429, wait 20 s": (answers(429, Retry_After="20"), TransientError, "answered 429", 0),
    "503 in the middle": (in_the_middle(503), TransientError, "answered 503", 1),
    "401 in the middle": (in_the_middle(401), DeniedError, "answered 401", 1),
    "403 in the middle": (in_the_middle(403), DeniedError, "answered 403", 1),
    "404 in the middle": (in_the_middle(404), RegistryError, "answered 404", 1),
    "416": (answers(416), ProtocolError, "answered 416", 0),
    "refuses the connection": (refuses, TransientError, "refused", 0),
    "stalls": (stalls, TransientError, "said nothing", 0),
    "breaks at the same byte": (breaks, TransientError, "closed the connection", 1),
    "sends nothing": (sends_nothing, TransientError, "bytes early", 0),
    "ends at the same byte": (ends_early, TransientError, "bytes early", 1),
    "no ranges, and breaks half way": (has_no_ranges_and_breaks, TransientError, "closed the connection", 10),
    "a Content-Range of other bytes": (lies, ProtocolError, "bytes 7-8 of 9", 0),
    "a Content-Range that is garbage": (garbles, ProtocolError, "Content-Range", 0),
    "the same bit flipped": (flips, CorruptError, "of models.example/acme/tiny:1: ", 4.2),
}


@contextlib.contextmanager
def destination(way: str, directory: Path) -> Iterator[Target]:
    if way == "mirror":
        yield registry(in_process(Unguarded(App(MemoryDepot()))))
        return
    store = Store(directory / "models", grain=GRAIN)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("way", ["pull", "mirror"])
@pytest.mark.parametrize("row", FAULTS)
def test_it_ends(row: str, way: str, tmp_path: Path) -> None:
    fault, kind, words, times = FAULTS[row]
    source = Source(fault)
    rule = Rule(give_up_after=GIVE_UP, longest_pause=PAUSE)
    patience = Patience(rule, clock=source.time, sleep=source.time.sleep)
    with destination(way, tmp_path) as there:
        with pytest.raises(RegistryError) as caught:
            # One worker: two would both move the clock, and a small blob done late would be progress.
            copy(registry(source), there, NAME, options=Options(lambda: patience, jobs=1))

        assert isinstance(caught.value, kind), caught.value
        assert words in str(caught.value)
        assert caught.value.side in (Side.SOURCE, Side.UNKNOWN) or kind is CorruptError
        assert source.time.now - 1000 <= GIVE_UP + PAUSE + 2 * STALL
        assert source.sent <= times * SIZE + 2 * GRAIN
        assert source.asked < 100
        with pytest.raises(RegistryError):
            there.resolve(NAME)


@pytest.mark.parametrize("way", ["pull", "mirror"])
def test_a_registry_without_ranges_is_no_fault(way: str, tmp_path: Path) -> None:
    source = Source(lambda source, request, _answer: whole_of(source, request))
    with destination(way, tmp_path) as there:
        copy(registry(source), there, NAME, options=Options(jobs=2))

        assert get(there, NAME) == MODEL
        assert source.sent <= 1.2 * SIZE
