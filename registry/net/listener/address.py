"""Where to listen, and the certificate that is shown there."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from registry.disk.files import read_bounded
from registry.errors import InvalidError, RegistryError
from registry.net.certificates import Certificate
from registry.net.listening import listen

BACKLOG = 4096  # connections that the system keeps until they are accepted
_PEM_BYTES = 1024 * 1024
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SOON = 7 * 86_400.0  # seconds before its end in which one was renewed, or a tenth of its time
_REFUSED = "clients refuse it"
# What OpenSSL calls a key that is another certificate's, of the same kind or of another.
_NOT_ITS_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one. `tls` for HTTPS."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def scheme(self) -> str:
        """What clients speak."""
        return "https" if self.tls else "http"

    def bind(self) -> Bound:
        """Take the port. InvalidError if it is taken, or the address not ours."""
        taken = listen(self.host, self.port, BACKLOG, "listening")
        return Bound(self, taken, taken.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Bound:
    """An address whose port is taken: a client that connects waits until somebody listens."""

    address: Address
    socket: socket.socket
    port: int


def tls_from(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with the certificate chain and unencrypted key in two PEM files. InvalidError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_password() -> str:
        hint = f"openssl pkey -in {key} -out KEY makes one without a password, for nobody else to read"
        raise InvalidError(f"{key} is encrypted", hint=hint)

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        raise _trouble(certificate, key, error) from None
    return context


def dates_trouble(certificate: Path, now: float) -> str:
    """What is wrong with the dates of the certificate in a PEM file, or soon will be; "" for nothing.

    `now` in Unix seconds. It is shown all the same: a server with a wrong certificate tells more than none.
    StorageError, NotFoundError, InvalidError if the file cannot be read.
    """
    pem = read_bounded(certificate, _PEM_BYTES).decode("ascii", "replace")
    try:
        found = Certificate.read(
            ssl.PEM_cert_to_DER_cert(pem[pem.index(_BEGIN) : pem.index(_END) + len(_END)])
        )
    except ValueError:
        return ""
    if found is None:
        return ""
    begins, ends = found.begins.timestamp(), found.ends.timestamp()
    if now < begins:
        return (
            f"the certificate in {certificate} is good from {found.begins:%Y-%m-%d %H:%M} UTC on: {_REFUSED}"
        )
    if now >= ends:
        return f"the certificate in {certificate} was good until {found.ends:%Y-%m-%d %H:%M} UTC: {_REFUSED}"
    if ends - now < min(_SOON, (ends - begins) / 10):
        return f"the certificate in {certificate} is good until {found.ends:%Y-%m-%d %H:%M} UTC"
    return ""


def _trouble(certificate: Path, key: Path, error: OSError) -> InvalidError:
    """Which of two files is not what it should be, and why; `error` says hardly more than "PEM lib"."""
    try:
        shown, secret = (read_bounded(path, _PEM_BYTES) for path in (certificate, key))
    except RegistryError as unread:
        hint = "the user that runs the server has to be able to read both files"
        return InvalidError(f"the certificate or its key: {unread.message}", hint=hint)
    return InvalidError(
        _what_is_wrong(certificate, shown, key, secret, error),
        hint="both are PEM files, and the key is the certificate's own",
    )


def _what_is_wrong(certificate: Path, shown: bytes, key: Path, secret: bytes, error: OSError) -> str:
    for path, data, kind, label in (
        (certificate, shown, "certificate", b"CERTIFICATE-----"),
        (key, secret, "private key", b"PRIVATE KEY-----"),
    ):
        if not data.strip():
            return f"{path} is empty: no {kind} is in it"
        if b"-----BEGIN " not in data or label not in data:
            return f"{path} holds no {kind} in PEM (-----BEGIN …)"
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_ITS_KEY:
        return f"the key in {key} is not that of the certificate in {certificate}"
    try:
        ssl.create_default_context(cadata=shown.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return f"the certificate in {certificate} is cut off or damaged"
    return f"the private key in {key} is cut off or damaged"


def read_again(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Show what the files hold now to connections from now on. InvalidError, and nothing changed.

    A context that is in use is not loaded anew: between its certificate and its key, a handshake would fail.
    """
    fresh = tls_from(certificate, key)

    def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = fresh

    context.sni_callback = show
