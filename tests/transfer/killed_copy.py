"""A process to be killed: moves one model, by spans of a mebibyte, and remembers its uploads.

    python killed_copy.py pull|push NAME MODELS STATE
    python killed_copy.py mirror NAME SOURCE STATE

Prints `ready`, then `done`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from far_client import options, remote, store

from registry.contracts import Destination, Source
from registry.model.names import Name
from registry.targets.remote import Remote
from registry.targets.sessions import file_sessions
from registry.targets.store import Store
from registry.transfer.copy import copy

JOBS = 2


def main(way: str, text: str, other: str, state: str) -> None:
    name = Name.parse(text)
    print("ready", flush=True)
    with remote(name, sessions=file_sessions(Path(state))) as far:
        if way == "mirror":
            source = Name.parse(other)
            with remote(source) as near:
                copy(near, far, source, to=name, options=options(JOBS))
        else:
            place = store(Path(other))
            copy(*_ends(way, far, place), name, options=options(JOBS))
            place.close()
    print("done", flush=True)


def _ends(way: str, far: Remote, place: Store) -> tuple[Source, Destination]:
    return (far, place) if way == "pull" else (place, far)


if __name__ == "__main__":
    main(*sys.argv[1:])
