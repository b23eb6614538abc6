"""A process to be killed: pulls or pushes one model, by spans of a mebibyte, and remembers its uploads.

    python carrier.py pull|push NAME MODELS STATE

Prints `ready`, then `done`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from through_faults import options, remote, store

from registry.model.names import Name
from registry.targets.sessions import FileSessions
from registry.transfer.copy import copy

JOBS = 2


def main(way: str, text: str, models: str, state: str) -> None:
    name = Name.parse(text)
    place = store(Path(models))
    print("ready", flush=True)
    with remote(name, sessions=FileSessions(Path(state))) as far:
        source, destination = (far, place) if way == "pull" else (place, far)
        copy(source, destination, name, options=options(JOBS))
    place.close()
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
