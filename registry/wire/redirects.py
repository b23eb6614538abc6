"""Where a redirect leads, and whether it may (RFC 9110 section 15.4). The only code that follows one."""

from __future__ import annotations

import ipaddress
import re
from enum import IntEnum
from urllib.parse import urljoin, urlsplit

from registry.errors import InvalidError, ProtocolError, RegistryError
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, Transport, is_loopback

MAX_REDIRECTS = 5
_STATUSES = (301, 302, 303, 307, 308)
_NO_LONGER = (400, 401, 403, 410)  # what storage says to a link that expired
_METHODS = ("GET", "HEAD")
_USER = re.compile(r"^([^:/?#]*:?//)[^/]*@")
# What another origin may know of a request; everything else might be a secret.
_HARMLESS = ("accept", "range", "if-range")
# Where clouds tell machines their secrets, besides link-local addresses.
_METADATA = frozenset({"metadata", "metadata.google.internal"})
_METADATA_ADDRESSES = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192"))
)
_HINT = (
    "the registry sends its downloads there; if that is right, its address must be a public one over HTTPS"
)


class Reach(IntEnum):
    """From how far away a host can be asked, judged by its spelling alone.

    MACHINE is this machine, its own link, and where a cloud tells it its secrets.
    """

    MACHINE = 0
    NETWORK = 1
    WORLD = 2

    @classmethod
    def of(cls, host: str) -> Reach:
        """The reach of a host name or address; a name that does not say so is the world's."""
        name = host.lower().rstrip(".")
        if is_loopback(host) or name.endswith(".localhost") or name in _METADATA:
            return cls.MACHINE
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # A number that is not an address in the usual spelling (127.1, 0x7f000001) may still reach one.
            last = host.rpartition(".")[2]
            return cls.MACHINE if last.isdigit() or last.startswith("0x") else cls.WORLD
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback or address.is_unspecified or address.is_link_local:
            return cls.MACHINE
        if address in _METADATA_ADDRESSES:
            return cls.MACHINE
        return cls.WORLD if address.is_global else cls.NETWORK


def follow(inside: Transport, outside: Transport, request: Request) -> Response:
    """The answer to a GET or HEAD at the end of at most MAX_REDIRECTS redirects.

    `inside` asks the origin the request is for; from the first redirect to another origin on, `outside`
    is asked, without anything that might be secret. Other methods are answered as they are.
    ProtocolError for a redirect that may not be followed, and a garbled one for a link that the place it
    leads to does not take (any more): a second request gets another.
    """
    transport = inside
    host = request.origin.netloc
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response = transport(request)
        except RegistryError as error:
            if transport is outside:  # a person never wrote that host's name
                error.message = f"{error.message}; {host} redirects there"
                error.args = (error.message,)
            raise
        if transport is outside and response.status in _NO_LONGER:
            response.close()
            raise ProtocolError(
                f"{request.origin.netloc} refused ({response.status}) the link that {host} gave",
                host=host,
                hint="if it stays so, the registry's storage and its clock are what to look at",
                garbled=True,
            )
        if response.status not in _STATUSES or request.method not in _METHODS:
            return response
        response.close()
        following = next_hop(request, response)
        if following.origin != request.origin:
            transport = outside
        request = following
    raise ProtocolError(f"{host} redirects more than {MAX_REDIRECTS} times", host=host)


def next_hop(request: Request, response: Response) -> Request:
    """The request that a redirect asks for; ProtocolError if it may not be made."""
    before = request.origin
    url = _located(request, response.headers.get("Location"))
    try:
        after = Origin.of(url)
    except InvalidError as error:
        raise _refusal(before, f"to {error.message}") from None
    wrong = hop_fault(before, after)
    if wrong:
        raise _refusal(before, wrong)
    if after == before:
        return Request(request.method, url, request.headers, access=request.access)
    kept = Headers((key, value) for key, value in request.headers if key.lower() in _HARMLESS)
    return Request(request.method, url, kept)


def hop_fault(before: Origin, after: Origin) -> str:
    """Why a peer at `before` may not send us on to `after`, or "" if it may."""
    if before.scheme == "https" and after.scheme == "http":
        return f"from HTTPS to plain HTTP at {after.netloc}"
    if before.host != after.host and Reach.of(after.host) < Reach.of(before.host):
        return f"into this machine or its network, to {after.netloc}"
    return ""


def _located(request: Request, location: str) -> str:
    """An absolute URL, kept byte for byte as far as it was given."""
    location = location.strip().partition("#")[0]
    if not location:
        raise _refusal(request.origin, "to nowhere: there is no Location")
    if location.startswith("/") and not location.startswith("//"):
        return f"{request.origin}{location}"
    try:
        return location if urlsplit(location).scheme else urljoin(request.url, location)
    except ValueError:
        raise _refusal(request.origin, "to something that is not a URL") from None


def _refusal(origin: Origin, where: str) -> ProtocolError:
    return ProtocolError(
        f"{origin.netloc} redirects {where}; Ferry does not follow", host=origin.netloc, hint=_HINT
    )


def shown(url: str) -> str:
    """`url` for a log or a message: what may carry a permission (user name, query, a link's path) as `…`."""
    path, question, _ = url.partition("#")[0].partition("?")
    if "@" in path:
        path = _USER.sub(r"\1…@", path)
    for link in ("/v2/_capability/", "/v2/_storage/"):
        if link in path:
            return f"{path.partition(link)[0]}{link}…"
    return f"{path}?…" if question else path
