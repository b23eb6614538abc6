"""What one registry has refused in this process: kept from one name to the next, so that it is asked once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from registry.model.digests import Digest


@dataclass(frozen=True, slots=True)
class Refused:
    """Empty for a registry that was not asked yet. Threads may share one.

    `mounts_onto_itself`: a POST that mounts a blob from where it is to go. `referrers`: the list of what
    refers to a manifest. `blobs`: what it said it holds in a repository, and does not serve.
    """

    mounts_onto_itself: threading.Event = field(default_factory=threading.Event)
    referrers: threading.Event = field(default_factory=threading.Event)
    blobs: set[tuple[str, Digest]] = field(default_factory=set)
