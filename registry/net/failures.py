"""What went wrong between two machines, as one clear sentence and the right class of error."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3 import exceptions as urllib3

from registry.errors import DeniedError, ProtocolError, Reason, RegistryError, TransientError
from registry.net.answers import UnclearError
from registry.net.pace import TooSlowError
from registry.wire.faults import printable
from registry.wire.messages import Origin

_DEPTH = 12  # wrappers around wrappers that are looked through
_SHOWN = 120
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
# What a server's TLS says that asks who is there, and is not content.
_NOT_THIS_ONE = "wants to see a certificate of ours, and does not take this one"
_WANTS_CERTIFICATE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "wants to see a certificate of ours, and got none",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "breaks off: it may want to see a certificate of ours",  # TLS 1.2
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_THIS_ONE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _NOT_THIS_ONE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _NOT_THIS_ONE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_THIS_ONE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _NOT_THIS_ONE,
    "TLSV1_ALERT_UNKNOWN_CA": _NOT_THIS_ONE,
}
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_QUERY = re.compile(r"\?\S+")
_GARBAGE = (
    http.client.BadStatusLine,
    http.client.LineTooLong,
)


def explain(
    error: BaseException, origin: Origin, *, proxy: str = "", answered: bool = False
) -> RegistryError:
    """The error that `error`, raised while talking to `origin`, means to a person.

    `proxy` is the URL of the proxy on the way; `answered` whether the peer had begun to answer.
    """
    causes = list(_causes(error))
    return (
        _of_proxy(causes, origin, proxy)
        or _of_tls(causes, origin)
        or _of_name(causes, origin)
        or _of_grammar(causes, origin)
        or _of_line(causes, origin, proxy, answered)
    )


def is_tls_port(origin: Origin) -> ProtocolError:
    """The error of speaking plain HTTP where TLS is spoken."""
    return ProtocolError(
        f"{origin.netloc} speaks HTTPS, and was asked in plain HTTP",
        host=origin.netloc,
        reason=Reason.HTTPS_THERE,
    )


def refused_by_proxy(proxy: str, origin: Origin, status: str) -> DeniedError:
    """The error of a proxy's no: it wants to know who asks, or lets nobody through to `origin`."""
    return DeniedError(
        f"the proxy {_place(proxy)} refused to connect to {origin.netloc} ({status})",
        host=origin.netloc,
        reason=Reason.PROXY,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it wraps, outermost first; the libraries keep causes in three different places."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _DEPTH:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or any(found is other for other in seen):
            continue
        seen.append(found)
        yield found
        waiting += [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]


def _first(causes: list[BaseException], *kinds: type[BaseException]) -> BaseException | None:
    return next((cause for cause in causes if isinstance(cause, kinds)), None)


def _of_proxy(causes: list[BaseException], origin: Origin, proxy: str) -> RegistryError | None:
    tunnel = next((found for cause in causes if (found := _TUNNEL.search(str(cause)))), None)
    if not proxy or not (tunnel or _first(causes, urllib3.ProxyError)):
        return None
    if tunnel and tunnel[1] in ("401", "403", "407"):
        return refused_by_proxy(proxy, origin, tunnel[1])
    place = _place(proxy)
    why = f"it answered {tunnel[1]}" if tunnel else _words(causes)
    return TransientError(
        f"the proxy {place} on the way to {origin.netloc} failed: {why}",
        host=origin.netloc,
        reason=Reason.PROXY,
    )


def _of_tls(causes: list[BaseException], origin: Origin) -> RegistryError | None:
    host = origin.netloc
    untrusted = _first(causes, ssl.SSLCertVerificationError)
    if isinstance(untrusted, ssl.SSLCertVerificationError):
        why = printable(untrusted.verify_message or str(untrusted))[:_SHOWN].rstrip(".")
        reason = Reason.CERTIFICATE
        if "not yet valid" in why or "expired" in why:
            reason = Reason.CERTIFICATE_DATES
        elif "mismatch" in why:
            reason = Reason.CERTIFICATE_HOST
        return DeniedError(
            f"{host} is not to be trusted: its certificate failed, {why}",
            host=host,
            reason=reason,
        )
    broken = _first(causes, ssl.SSLError)
    if isinstance(broken, ssl.SSLError) and broken.reason in _WANTS_CERTIFICATE:
        return DeniedError(
            f"{host} {_WANTS_CERTIFICATE[broken.reason]}",
            host=host,
            reason=Reason.CLIENT_CERTIFICATE,
        )
    if isinstance(broken, ssl.SSLError) and broken.reason in _NOT_TLS:
        return ProtocolError(
            f"{host} does not speak HTTPS there",
            host=host,
            reason=Reason.NO_HTTPS_THERE,
        )
    return None


def _of_name(causes: list[BaseException], origin: Origin) -> RegistryError | None:
    if not _first(causes, socket.gaierror, urllib3.NameResolutionError):
        return None
    return TransientError(
        f"the host {origin.host} cannot be found: its name does not resolve",
        host=origin.netloc,
        reason=Reason.NO_SUCH_HOST,
    )


def _of_grammar(causes: list[BaseException], origin: Origin) -> RegistryError | None:
    unclear = _first(causes, UnclearError)
    if unclear is not None:
        return ProtocolError(f"the answer of {origin.netloc} {unclear}", host=origin.netloc)
    garbage = _first(causes, *_GARBAGE)
    if isinstance(garbage, http.client.RemoteDisconnected):  # a BadStatusLine only by inheritance
        return None
    if garbage is None and type(_first(causes, http.client.HTTPException)) is not http.client.HTTPException:
        return None
    said = printable(str(garbage or _first(causes, http.client.HTTPException)))[:_SHOWN]
    said = _QUERY.sub("?…", said)  # it may be our own request, sent back
    if origin.scheme == "http" and "\\x15\\x03" in said:  # a TLS alert record
        return is_tls_port(origin)
    return ProtocolError(
        f"{origin.netloc} did not answer in HTTP: {said}",
        host=origin.netloc,
        reason=Reason.NO_REGISTRY_THERE,
    )


def _of_line(causes: list[BaseException], origin: Origin, proxy: str, answered: bool) -> RegistryError:
    """Everything that may be better in a moment."""
    refused = _first(causes, ConnectionRefusedError) is not None
    way = f" (through the proxy {_place(proxy)})" if proxy else ""
    return TransientError(
        f"{origin.netloc}{way} {_words(causes)}",
        host=origin.netloc,
        reason=Reason.NOBODY_LISTENS if refused else Reason.LINE_BROKE,
        answered=answered,
    )


def _place(proxy: str) -> str:
    """The host and port of a proxy's URL, without the password that may stand before them."""
    return urlsplit(proxy).netloc.rpartition("@")[2]


def _words(causes: list[BaseException]) -> str:
    """What happened on the line, as the end of a sentence that begins with the host."""
    if _first(causes, ConnectionRefusedError):
        return "refused the connection"
    slow = _first(causes, TooSlowError)
    if slow is not None:
        return f"became too slow: it {slow}"
    if _first(causes, TimeoutError, urllib3.ReadTimeoutError):
        return (
            "could not be reached in time" if _first(causes, urllib3.ConnectTimeoutError) else "fell silent"
        )
    if _first(causes, http.client.IncompleteRead, urllib3.IncompleteRead):
        return "ended its answer early"
    if _first(causes, ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, ssl.SSLEOFError):
        return "closed the connection without a whole answer"
    last = _first(causes, OSError)
    why = last.strerror if isinstance(last, OSError) and last.strerror else type(causes[-1]).__name__
    return f"could not be talked to: {printable(str(why))[:_SHOWN]}"
