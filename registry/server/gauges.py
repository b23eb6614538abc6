"""What is true of the registry just now, in numbers: its disk, what it keeps, what is under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from sqlalchemy import Engine, func, select

from registry.disk import files
from registry.errors import StorageError
from registry.net.listener.listener import Listener
from registry.server.database import reading
from registry.server.tables import BLOBS, MANIFESTS, REPOSITORIES, TAGS, UPLOADS

Numbers = Mapping[str, tuple[str, float]]

_COUNTED = {
    "ferry_repositories": ("Repositories that were ever published to.", REPOSITORIES),
    "ferry_tags": ("Tags: models by name.", TAGS),
    "ferry_manifests": ("Manifests, tagged or not.", MANIFESTS),
    "ferry_blobs": ("Blobs, each counted once.", BLOBS),
    "ferry_uploads": ("Uploads that are not finished.", UPLOADS),
}


def disk(directory: Path) -> Numbers:
    """How much of the data directory's disk is free."""
    try:
        return {"ferry_disk_free_bytes": ("Free on the disk of the data.", files.free_bytes(directory))}
    except StorageError:
        return {}


def kept(engine: Engine, begun: Collection[object]) -> Numbers:
    """What the catalogue has; nothing while the database does not answer, as a wrong number would lie.

    `begun` are the uploads that it does not know yet.
    """
    numbers: dict[str, tuple[str, float]] = {}
    try:
        with reading(engine) as database:
            for name, (what, table) in _COUNTED.items():
                numbers[name] = (what, database.execute(select(func.count()).select_from(table)).scalar_one())
            size = database.execute(select(func.coalesce(func.sum(BLOBS.c.size), 0))).scalar_one()
    except StorageError:
        return {}
    what, uploads = numbers["ferry_uploads"]
    numbers["ferry_uploads"] = what, uploads + len(begun)
    return {**numbers, "ferry_blob_bytes": ("Bytes of all blobs.", size)}


def under_way(listeners: Callable[[], Iterable[Listener]]) -> Numbers:
    """Connections, memory and queues of all listeners."""
    numbers: dict[str, tuple[str, float]] = {}

    def add(name: str, what: str, value: float) -> None:
        numbers[name] = (what, numbers.get(name, (what, 0.0))[1] + value)

    for each in listeners():
        add("ferry_connections", "Open connections.", len(each.connections))
        add(
            "ferry_connections_waiting",
            "Of them, with a request that waits for the peer.",
            each.connections.waiting(),
        )
        add("ferry_connections_closed_early", "Closed to make room.", each.connections.closed_early)
        add("ferry_held_bytes", "Bodies and answers in memory.", each.connections.held)
        for work, inside in each.queues.inside().items():
            add(f"ferry_queue_{work.value}", f"Calls that wait or run: {work.value}.", inside)
    return numbers
