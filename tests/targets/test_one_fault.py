"""One fault for ever, on the way up: a registry that does it each time ends the push, in time and truly."""

from __future__ import annotations

from typing import Any

import pytest
from real_registries import GIVE_UP, SIZE, Client, weights
from registry_double import Quirks, Registry

from registry.errors import (
    CorruptError,
    DeniedError,
    ProtocolError,
    Reason,
    RegistryError,
    TransientError,
)
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

PAUSE = 30.0  # the longest
BUSY = (503, "UNAVAILABLE", "try later")
BROKEN = (500, "UNKNOWN", "oops")
UNKNOWN = (404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
RANGE = (416, "RANGE_INVALID", "invalid content range")


def _busy(seconds: str) -> Response:
    return Response(429, Headers({"Retry-After": seconds}), b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')


Row = tuple[Quirks, type[RegistryError], str, float]

# What it does each time; the error, words of it; how many times the size may arrive in all.
FAULTS: dict[str, Row] = {
    "takes the body and answers 503": (Quirks(patch=BUSY), TransientError, "answered 503", 2),
    "the same after 16 MiB": (Quirks(patch=BUSY, patches_taken=1), TransientError, "answered 503", 4),
    "429 without a pause": (Quirks(patch=(429, "TOOMANYREQUESTS", "")), TransientError, "429", 2),
    "breaks, keeps nothing": (
        Quirks(breaks_at=5000, keeps_broken=False), TransientError, "closed the connection", 1),
    "breaks at the same byte": (Quirks(breaks_at=30_000_000), TransientError, "closed the connection", 1),
    "416": (Quirks(patch=RANGE, full_closing=RANGE), ProtocolError, "in no way that Ferry knows", 5),
    "2xx and nothing kept": (Quirks(keeps="nothing"), CorruptError, "DIGEST_INVALID", 2.1),
    "2xx and nothing kept, 0-0": (Quirks(keeps="nothing", told="first chunk"), CorruptError, "DIGEST", 2.1),
    "2xx and nothing kept, SIZE_INVALID": (
        Quirks(keeps="nothing", wrong=(400, "SIZE_INVALID", "0 bytes")), CorruptError, "SIZE_INVALID", 2.1),
    "the upload vanishes at once": (
        Quirks(vanishes_after=0, full_closing=UNKNOWN), ProtocolError, "in no way that Ferry knows", 3.5),
    "the upload vanishes after each part": (
        Quirks(vanishes_after=1, full_closing=UNKNOWN), ProtocolError, "in no way that Ferry knows", 3.5),
    "closing PUT 500": (Quirks(closing=BROKEN), ProtocolError, "500", 2.1),
    "closing PUT 503": (Quirks(closing=BUSY), TransientError, "answered 503", 1.1),
    "closing PUT 404": (Quirks(closing=UNKNOWN), ProtocolError, "BLOB_UPLOAD_UNKNOWN", 2.1),
    "closing PUT 413, though it is empty": (
        Quirks(empty_closing=(413, "", "blob too large")), ProtocolError, "413: blob too large", 1.1),
    "closing PUT 416": (Quirks(closing=RANGE), ProtocolError, "RANGE_INVALID", 2.1),
    "closing PUT 400 without a code": (Quirks(closing=(400, "", "")), ProtocolError, "400", 2.1),
    "closing PUT 400 NAME_INVALID": (
        Quirks(closing=(400, "NAME_INVALID", "no")), ProtocolError, "NAME_INVALID", 2.1),
    "closing PUT DIGEST_INVALID": (
        Quirks(closing=(400, "DIGEST_INVALID", "no")), CorruptError, "DIGEST_INVALID", 2.1),
    "401 in the middle": (Quirks(patch=(401, "UNAUTHORIZED", ""), patches_taken=1), DeniedError, "401", 1),
    "403 in the middle": (Quirks(patch=(403, "DENIED", ""), patches_taken=1), DeniedError, "403", 1),
    "413 after 16 MiB": (
        Quirks(patch=(413, "", "too large"), patches_taken=1), ProtocolError, "takes no body of 1 MiB", 2),
    "location at another host": (
        Quirks(location="https://evil.example/v2/x"), ProtocolError, "another place", 0),
    "location that is nothing": (
        Quirks(location="/v2/acme/tiny/nowhere"), ProtocolError, "in no way that Ferry knows", 3.5),
    "a proxy that closes": (
        Quirks(body_limit=100, closes=True), TransientError, "closed the connection", 2),
}  # fmt: skip


@pytest.mark.parametrize("row", FAULTS)
def test_it_ends(row: str) -> None:
    quirks, kind, words, times = FAULTS[row]
    client = Client(Registry(quirks))

    with pytest.raises(RegistryError) as caught:
        client.push()

    assert type(caught.value) is kind, caught.value
    assert words in str(caught.value)
    assert client.time.now - 1000 <= GIVE_UP + PAUSE + 30
    assert client.registry.received <= times * SIZE + 100_000
    assert len(client.registry.asked) < 400


def test_a_registry_that_keeps_nothing_is_not_said_to_be_a_damaged_source() -> None:
    client = Client(Registry(Quirks(keeps="nothing")))

    with pytest.raises(CorruptError) as caught:
        client.push()

    assert caught.value.reason is Reason.BLOB_REFUSED
    assert caught.value.host == "models.example"
    assert not any("its bytes are wrong" in note for note in client.time.notes)


def test_a_closing_put_whose_answer_is_lost_costs_a_question() -> None:
    class Lost(Registry):
        def _close(self, request: Request, upload: Any) -> Response:
            super()._close(request, upload)
            del self._uploads[request.path]
            raise TransientError("the line broke")

    client = Client(Lost())

    client.push()

    assert client.registry.received < SIZE + 1000


def test_a_range_that_stands_still_is_no_fault() -> None:
    client = Client(Registry(Quirks(told="first chunk")))

    client.push()

    assert client.pull() == weights()[0]
    assert client.registry.received < SIZE + 1000


def test_a_pause_of_hours_is_said_and_not_slept() -> None:
    client = Client(Registry(Quirks(every=_busy("10800"))), give_up=100_000.0)

    with pytest.raises(TransientError, match="3 h"):
        client.push()

    assert client.time.now < 1010
    assert len(client.registry.asked) == 1
