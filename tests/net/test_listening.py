"""An address that cannot be listened at is told with what to do about it."""

from __future__ import annotations

import errno
import socket

import pytest

from registry.errors import InvalidError, Reason
from registry.net.listener.address import Address


@pytest.mark.parametrize(
    ("number", "step", "reason"),
    [
        (errno.EADDRINUSE, "", Reason.ADDRESS_TAKEN),
        (errno.EACCES, "ports below 1024 are for root", Reason.NONE),
        (errno.EADDRNOTAVAIL, "no address of this machine", Reason.NONE),
    ],
)
def test_why_nobody_can_listen_there_decides_what_to_do(
    number: int, step: str, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_where: object, **_how: object) -> socket.socket:
        raise OSError(number, "no")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(InvalidError, match=r"listening on 127\.0\.0\.1:443: ") as caught:
        Address(port=443).bind()
    assert (caught.value.reason, step in (caught.value.hint or "")) == (reason, True)
