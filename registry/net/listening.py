"""Takes a port to listen at, by either version of IP; why it cannot be had says what to do about it."""

from __future__ import annotations

import errno
import socket

from registry.errors import InvalidError, Reason

# Where another port of the same address is no way out, or the only one.
_NOT_OURS = {
    errno.EACCES: "ports below 1024 are for root, or for a service with CAP_NET_BIND_SERVICE "
    "(systemd: AmbientCapabilities); a proxy in front may listen there instead",
    errno.EADDRNOTAVAIL: "that is no address of this machine",
}
_NO_SUCH_HOST = (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_AGAIN, socket.EAI_FAIL)


def listen(host: str, port: int, backlog: int, what: str) -> socket.socket:
    """A socket at which `backlog` connections may wait; port 0 takes a free one. `what` is to listen there.

    InvalidError in the system's words, also for a host that it does not know.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        words = (error.strerror or str(error)).partition(" (while ")[0]
        raise InvalidError(
            f"{what} on {host}:{port}: {words}",
            reason=_reason(error),
            hint=_NOT_OURS.get(error.errno or 0, ""),
        ) from None


def _reason(error: OSError) -> Reason:
    if error.errno in _NO_SUCH_HOST:
        return Reason.NO_SUCH_HOST
    return Reason.ADDRESS_TAKEN if error.errno == errno.EADDRINUSE else Reason.NONE
