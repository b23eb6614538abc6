"""A client with little patience, and a certificate that only it knows."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from registry.net.http import Http
from registry.net.network import Network

STALL = 0.6  # seconds


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, as the server and as the client need it."""

    server: ssl.SSLContext
    pem: str


@pytest.fixture
def client() -> Iterator[Callable[..., Http]]:
    """Makes clients and closes them."""
    made: list[Http] = []

    def make(*, trace: Callable[[str], None] | None = None, **settings: object) -> Http:
        made.append(Http(Network(**{"stall": STALL, "answer": STALL, "connect": STALL, **settings}), trace))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.abort()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1 and models.example, good today."""
    return _certificate(tmp_path_factory.mktemp("tls"), days=1)


@pytest.fixture(scope="session")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For the same names, good until yesterday."""
    return _certificate(tmp_path_factory.mktemp("old"), days=-1)


def _certificate(folder: Path, days: int) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("models.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return Certificate(server, pem.decode())
