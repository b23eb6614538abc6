"""Takes a port to listen at, by either version of IP."""

from __future__ import annotations

import socket


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """A socket at which `backlog` connections may wait; port 0 takes a free one.

    OSError in the system's words alone, also for a host that it does not know.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        words = (error.strerror or str(error)).partition(" (while ")[0]
        raise OSError(error.errno, words) from None
