"""An address that cannot be listened at is told with what to do about it."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path

import pytest
from certificates import write_certificate

from registry.errors import InvalidError, Reason
from registry.net.listener.address import Address, dates_trouble, tls_from
from registry.net.metrics import MetricsPage


@pytest.mark.parametrize(
    ("number", "step", "reason"),
    [
        (errno.EADDRINUSE, "", Reason.ADDRESS_TAKEN),
        (errno.EACCES, "ports below 1024 are for root", Reason.NONE),
        (errno.EADDRNOTAVAIL, "no address of this machine", Reason.NONE),
        (socket.EAI_NONAME, "", Reason.NO_SUCH_HOST),
    ],
)
def test_why_nobody_can_listen_there_decides_what_to_do(
    number: int, step: str, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_where: object, **_how: object) -> socket.socket:
        raise OSError(number, "so it is (while attempting to bind on address ('127.0.0.1', 443))")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(InvalidError, match=r"listening on 127\.0\.0\.1:443: so it is$") as caught:
        Address(port=443).bind()
    assert (caught.value.reason, step in (caught.value.hint or "")) == (reason, True)
    with pytest.raises(InvalidError, match=r"metrics on 127\.0\.0\.1:443: so it is$") as of_page:
        MetricsPage("127.0.0.1", 443, str)
    assert (of_page.value.reason, of_page.value.hint) == (reason, caught.value.hint)


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("empty", "key.pem", "{0} is empty: no certificate is in it"),
        ("words", "key.pem", "{0} holds no certificate in PEM"),
        ("key.pem", "cert.pem", "{0} holds no certificate in PEM"),
        ("cut", "key.pem", "the certificate in {0} is cut off or damaged"),
        ("cert.pem", "words", "{1} holds no private key in PEM"),
        ("cert.pem", "cert.pem", "{1} holds no private key in PEM"),
        ("cert.pem", "cut key", "the private key in {1} is cut off or damaged"),
        ("cert.pem", "other/key.pem", "the key in {1} is not that of the certificate in {0}"),
        ("gone", "key.pem", "the certificate or its key: reading {0}: No such file"),
    ],
)
def test_a_certificate_that_cannot_be_shown_is_told_by_its_file_and_its_fault(
    certificate: str, key: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    write_certificate(tmp_path)
    write_certificate(tmp_path / "other")
    (tmp_path / "empty").touch()
    (tmp_path / "words").write_text("not PEM at all\n")
    for cut, whole in (("cut", "cert.pem"), ("cut key", "key.pem")):
        (tmp_path / cut).write_bytes((tmp_path / whole).read_bytes()[:120])

    with pytest.raises(InvalidError) as caught:
        tls_from(tmp_path / certificate, tmp_path / key)

    assert caught.value.message.startswith(why.format(tmp_path / certificate, tmp_path / key))


@pytest.mark.parametrize(
    ("until", "told"),
    [(-1, "was good until"), (3, "is good from"), (0.1, "is good until"), (1, None)],
)
def test_a_certificate_is_told_that_is_not_good_or_not_for_long(
    until: float, told: str | None, tmp_path: Path
) -> None:
    write_certificate(tmp_path, until=until)
    trouble = dates_trouble(tmp_path / "cert.pem", time.time())
    assert told in trouble if told else trouble == "", trouble
    assert trouble.endswith("clients refuse it") is (until in (-1, 3))


def test_a_certificate_or_key_that_may_not_be_read_is_told_with_who_has_to(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    with pytest.raises(InvalidError) as caught:
        tls_from(tmp_path / "cert.pem", tmp_path)
    assert caught.value.hint == "the user that runs the server has to be able to read both files"
