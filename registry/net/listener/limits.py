"""What one peer, and all of them together, may hold of the server: seconds, bytes, connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_MOST_DESCRIPTORS = 65536
_MOST_WAITING = 4096
_MOST = 8192  # connections: each costs 6 KB, and many a begun head as much again
_MOST_ENCRYPTED = 1536  # connections, each of which costs OpenSSL 30 KB
_MOST_HANDSHAKES = 512
_RESERVED = 96  # descriptors for the database, files of uploads being named, and connections just accepted


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes. What is over one of them is given up, not queued."""

    keepalive: float = 75.0  # without a request's head
    body: float = 60.0  # in which at least `trickle` bytes of a body must arrive,
    send: float = 60.0  # or be taken of an answer
    trickle: int = 4096
    handshake: int = 20  # for TLS to begin
    linger: float = 10.0  # that what is left of a refused body is read, so that the refusal is seen
    stalled: float = 5.0  # without progress, after which a peer makes room for others when room is short
    health: float = 0.8  # after which a health check answers that the database does not
    memory: int = 48 * 1024 * 1024  # of bodies and answers that are held in memory, all together
    connections: int = 0  # at once; 0: as many as this process's descriptors allow

    def most_connections(self, *, encrypted: bool = False) -> int:
        """How many connections there may be: each may need a second descriptor, for a file."""
        found = self.connections or min(_MOST, max(8, (_descriptors() - self.most_waiting()) // 2))
        return min(found, _MOST_ENCRYPTED) if encrypted else found

    def most_handshakes(self) -> int:
        """How many connections there may be that have not begun to speak TLS with us."""
        return min(_MOST_HANDSHAKES, self.most_waiting())

    def most_waiting(self) -> int:
        """How many more may have been taken from the system that are not connections yet."""
        return max(8, min(_MOST_WAITING, _descriptors() // 4))


def _descriptors() -> int:
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_DESCRIPTORS) - _RESERVED


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as the system allows it; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS says a higher limit than it grants
            return soft
        return wanted
    return soft
