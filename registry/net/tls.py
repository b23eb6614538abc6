"""TLS for a client that moves much: the socket is read in large pieces, whatever the size of the records.

The standard library's SSLSocket asks the kernel twice for every record, which is 16 KiB, or 4 KiB behind some
nginx. Here OpenSSL finds its records in memory: a piece of 512 KiB costs one call, however many are in it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from registry.errors import InvalidError, Reason
from registry.net.network import ClientCertificate
from registry.net.sockets import Sockets

RECEIVE_BYTES = 512 * 1024  # encrypted bytes that are asked for at once: the more, the fewer calls and waits,
ONE_OF_MANY = 128 * 1024  # and that many where there are more connections than a fast link needs
_FEW = 2
_RECORD_BYTES = 16 * 1024  # the most that one record holds


class TlsSocket(socket.socket):
    """A TCP connection under TLS. One thread has it; another may shut it.

    It takes the place of `plain`. Its timeout is for one call, however many bytes it takes for that.
    """

    def __init__(self, plain: socket.socket, context: TlsContext, server_hostname: str | None) -> None:
        timeout = plain.gettimeout()
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self.settimeout(timeout)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)  # not in typeshed so
        self._decrypting = context.decrypting
        few = context.sockets.count <= _FEW  # `plain` is one of them
        self._received = memoryview(bytearray(RECEIVE_BYTES if few else ONE_OF_MANY))
        self._unsent = memoryview(b"")  # encrypted, and not taken by the kernel yet
        self._ended = False
        self._failure: ssl.SSLError | None = None  # raised once what came before it was read

    def do_handshake(self) -> None:
        """Agree with the peer. SSLError, OSError."""
        until = self._deadline()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive(until)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the peer is told what is wrong
                raise
            else:
                self._flush()
                return

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As SSLSocket's."""
        return self._tls.getpeercert(binary_form)

    def version(self) -> str | None:
        """As SSLSocket's."""
        return self._tls.version()

    # --- reading -----------------------------------------------------------------------------------

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Fill the front of `buffer` with what came; 0 at the end, also one that was not announced."""
        view = memoryview(buffer)[: nbytes or None]
        until = self._deadline()
        while not (count := self._decrypted(view)) and not self._ended:
            self._receive(until)
        return count

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At most so many bytes of what came; none at the end."""
        buffer = bytearray(min(bufsize, _RECORD_BYTES))
        return bytes(buffer[: self.recv_into(buffer)])

    def heard_more(self) -> bool:
        """Whether the peer said more than was read, or goodbye: no request can follow then."""
        if self._ended or not (self._incoming.pending or self._tls.pending()):
            return self._ended
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return False  # TLS talks to itself: session tickets
        except ssl.SSLError:
            return True
        return True

    def _decrypted(self, view: memoryview) -> int:
        """Fill the front of `view` with what was received already.

        OpenSSL is asked only where it has something: its "not yet" is an exception, and takes as long as
        a small record. One thread at a time: OpenSSL lets go of the interpreter for each record, and two
        threads that do this side by side spend more on handing it over than on the records.
        """
        if self._failure is not None:
            raise self._failure
        filled, wanted = 0, len(view)
        read, incoming = self._read, self._incoming
        with self._decrypting:
            try:
                while filled < wanted and (incoming.pending or self._tls.pending() or incoming.eof):
                    count = read(wanted - filled, view[filled:])
                    if not count:
                        self._ended = True
                        break
                    filled += count
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                self._ended = True
            except ssl.SSLError as error:
                if not filled:
                    raise
                self._failure = error
        return filled

    def _receive(self, until: float | None) -> None:
        """Wait for more, until then at most. TimeoutError, BlockingIOError."""
        if until is not None and time.monotonic() > until:
            raise TimeoutError("the peer sends no whole record")
        if self._outgoing.pending and not self._unsent and self.gettimeout() != 0:
            self._flush()  # a peer of TLS 1.2 that agrees anew waits for this before it goes on
        count = super().recv_into(self._received)
        if count:
            self._incoming.write(self._received[:count])
        else:
            self._incoming.write_eof()

    def _deadline(self) -> float | None:
        timeout = self.gettimeout()
        return time.monotonic() + timeout if timeout else None

    # --- writing -----------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all of `data`. After a BlockingIOError call it again with the same."""
        if not self._unsent:
            self._encrypt(data)
        while self._unsent:
            self._unsent = self._unsent[super().send(self._unsent) :]
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of `data`."""
        self._encrypt(data)
        unsent, self._unsent = self._unsent, memoryview(b"")
        super().sendall(unsent)

    def _encrypt(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._unsent = memoryview(self._outgoing.read())

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        if self._outgoing.pending:
            super().sendall(self._outgoing.read())


class TlsContext(ssl.SSLContext):
    """Client TLS by the system's CAs; its sockets are watched from before the handshake on."""

    sockets: Sockets
    decrypting: threading.Lock

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> TlsSocket:  # type: ignore[override]
        """TLS over a connected socket, which it takes the place of."""
        wrapped = TlsSocket(sock, self, kwargs.get("server_hostname"))
        try:
            self.sockets.watch(wrapped)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def tls_context(
    sockets: Sockets, *, ca: str = "", insecure: bool = False, certificate: ClientCertificate | None = None
) -> TlsContext:
    """TLS 1.2 or newer by the system's CAs and those in `ca` (PEM text); InvalidError if that is none.

    `insecure` takes any certificate: the caller has warned the person. `certificate` is shown to a server
    that asks for one; InvalidError if it cannot be used.
    """
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sockets = sockets
    context.decrypting = threading.Lock()
    trust(context, ca=ca, insecure=insecure)
    if certificate is not None:
        show(context, certificate)
    return context


def trust(context: ssl.SSLContext, *, ca: str = "", insecure: bool = False) -> None:
    """Have a client's context speak TLS 1.2 or newer and trust what `tls_context` says. InvalidError."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    context.load_default_certs()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise InvalidError(
                "the extra CA certificates cannot be read", reason=Reason.CA_UNREADABLE
            ) from None


def show(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """Have `context` show our own certificate. InvalidError names the files."""
    key = certificate.key or certificate.chain
    try:
        context.load_cert_chain(certificate.chain, key, _no_password)
    except _EncryptedError:
        raise InvalidError(
            f"the client's key in {key} is encrypted, and nobody is asked for its password",
            hint=f"openssl pkey -in {key} -out KEY, kept where only you read it",
        ) from None
    except ssl.SSLError as error:
        mixed = error.reason == "KEY_VALUES_MISMATCH"
        why = f"is not for the certificate in {certificate.chain}" if mixed else "cannot be used"
        raise InvalidError(f"the client's key in {key} {why}, or one of them is not in PEM form") from None
    except OSError as error:
        raise InvalidError(f"the client's certificate {certificate.chain}: {error.strerror}") from None


class _EncryptedError(Exception):
    """The key has a password."""


def _no_password() -> str:
    """Instead of asking a terminal, as OpenSSL does by itself."""
    raise _EncryptedError
