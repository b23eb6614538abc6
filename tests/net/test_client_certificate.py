"""Mutual TLS: a server that asks who is there before it hears anything. Where else the certificate goes, or
rather does not, is in the table of `tests/auth/test_origin_rules.py`."""

from __future__ import annotations

import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
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


def test_who_is_asked_for_one_after_a_request_shows_it_then(folder: Path) -> None:
    """As Apache does for one path of many: TLS 1.2 begins anew once the request was read."""
    listen = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
    with subprocess.Popen(
        [*listen, "-tls1_2", "-state", "-CAfile", "cert.pem", "-cert", "cert.pem", "-key", "key.pem"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as server:
        assert server.stdin and server.stdout
        said = iter(server.stdout.readline, b"")
        port = next(line for line in said if line.startswith(b"ACCEPT")).rpartition(b":")[2].decode().strip()
        origin = Origin("https", "127.0.0.1", int(port))
        ours = ClientCertificate(origin, folder / "both.pem")
        http = Http(Network(insecure=True, certificate=ours, stall=5))
        with ThreadPoolExecutor(1) as asking:
            for times in range(2):
                answer = asking.submit(http, Request("GET", f"{origin}/v2/"))
                next(line for line in said if line.startswith(b"GET /v2/"))
                if not times:
                    _tell(server, b"R\n")  # agree anew, and ask for a certificate
                    next(line for line in said if line.endswith(b"write finished\n"))
                _tell(server, b"HTTP/1.1 204 x\n\n")
                assert answer.result().status == 204
        http.abort()
        assert b"   2 server accepts that finished\n" in list(said)


def _tell(server: subprocess.Popen[bytes], line: bytes) -> None:
    assert server.stdin
    server.stdin.write(line)
    server.stdin.flush()
