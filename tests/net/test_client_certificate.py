"""Mutual TLS: a server that asks who is there before it hears anything. Where else the certificate goes, or
rather does not, is in the table of `tests/auth/test_origin_rules.py`."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from certificates import write_certificate
from spy import Spy, reply

from registry.errors import DeniedError, InvalidError, Reason
from registry.net.http import Http
from registry.net.network import ClientCertificate, Network
from registry.wire.messages import Origin, Request


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cert.pem` and `key.pem`; `both.pem`; `locked.pem`, a key with a password; `other/`, another pair."""
    made: Path = tmp_path_factory.mktemp("mutual")
    write_certificate(made)
    (made / "other").mkdir()
    write_certificate(made / "other")
    (made / "both.pem").write_bytes((made / "cert.pem").read_bytes() + (made / "key.pem").read_bytes())
    lock = ["openssl", "pkey", "-in", "key.pem", "-aes256", "-passout", "pass:pw", "-out", "locked.pem"]
    subprocess.run(lock, cwd=made, check=True, capture_output=True)
    return made


def mutual(folder: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A server that talks to nobody without the certificate in `folder`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    return context


def ask(spy: Spy, chain: Path | None = None, key: Path | None = None) -> int:
    """The status of an answer."""
    ours = ClientCertificate(Origin.of(spy.url), chain, key) if chain else None
    http = Http(Network(insecure=True, certificate=ours))
    try:
        response = http(Request("GET", f"{spy.url}/v2/"))
        response.close()
        return response.status
    finally:
        http.close()


def test_who_has_one_is_let_in_with_the_key_beside_it_or_in_the_same_file(folder: Path) -> None:
    with Spy((reply(200),), tls=mutual(folder)) as spy:
        assert ask(spy, folder / "cert.pem", folder / "key.pem") == 200
        assert ask(spy, folder / "both.pem") == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_without_one_the_server_is_not_asked_again_and_it_is_said_what_is_wanted(
    folder: Path, version: ssl.TLSVersion
) -> None:
    with Spy((reply(200),), tls=mutual(folder, version)) as spy:
        with pytest.raises(DeniedError, match="to see a certificate of ours") as refused:
            ask(spy)
        assert refused.value.reason is Reason.CLIENT_CERTIFICATE
        other = folder / "other"
        with pytest.raises(DeniedError, match="wants to see a certificate of ours"):
            ask(spy, other / "cert.pem", other / "key.pem")
        assert spy.connections == 2 and not spy.seen


@pytest.mark.parametrize(
    ("chain", "key", "why"),
    [
        ("cert.pem", "locked.pem", "is encrypted"),
        ("cert.pem", "other/key.pem", "is not for the certificate"),
        ("cert.pem", None, "cannot be used"),
        ("none.pem", "key.pem", "No such file"),
        ("key.pem", "key.pem", "cannot be used"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_sent(
    folder: Path, chain: str, key: str | None, why: str
) -> None:
    with Spy((reply(200),)) as spy:
        http = Http(
            Network(
                certificate=ClientCertificate(
                    Origin.of(f"https://{spy.netloc}"), folder / chain, folder / key if key else None
                )
            )
        )
        with pytest.raises(InvalidError, match=why):
            http(Request("GET", f"https://{spy.netloc}/v2/"))
        http.close()
        assert spy.connections == 0
