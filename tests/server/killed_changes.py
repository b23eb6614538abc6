"""Kills a process within every change of the database in turn: `killed_changes.py DIRECTORY FIRST STEP`.

A program of its own, because it forks: each change is made in a child that ends by SIGKILL in front of its
FIRST statement, then of the one STEP further, until it ends well. A row that is written in a second
transaction is noticed by a STEP of 3: that has a BEGIN, an INSERT and a COMMIT. Says as JSON, for each
change, how often it was killed, and after which kills the database had changed without its audit row, or the
reverse.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event

from registry.auth.keys import PrivateKey
from registry.contracts import Actor
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.server.principal import Right
from registry.server.registry import Registry

ADA, NEW = (PrivateKey(bytes([number]) * 32).public for number in (1, 2))
ACTOR = Actor("ada", "key-1", "192.0.2.1")
WEIGHTS, SPARE = b"weights", b"nobody needs these"
MOST = 100  # statements of one change

Change = Callable[[Registry], object]


def manifest(note: str) -> Manifest:
    layer = {"mediaType": "application/x-weights", "digest": str(Digest.of(WEIGHTS)), "size": len(WEIGHTS)}
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layer,
        "layers": [layer],
        "annotations": {"note": note},
    }
    return Manifest.parse(json.dumps(document).encode())


OLD = manifest("old")

CHANGES: Mapping[str, Change] = {
    "publish": lambda it: it.depot.publish("ada/tiny", manifest("new"), "1", ACTOR),
    "publish two tags, public": lambda it: it.depot.publish(
        "ada/tiny", manifest("new"), None, ACTOR, public=True, more=["2", "3"]
    ),
    "delete a tag": lambda it: it.depot.delete_tag("ada/tiny", "1", ACTOR),
    "delete a manifest": lambda it: it.depot.delete_manifest("ada/tiny", OLD.digest, ACTOR),
    "delete a blob": lambda it: it.depot.delete_blob("ada/tiny", Digest.of(SPARE), ACTOR),
    "grant": lambda it: it.rights.grant("bob", "ada/tiny", Right.READ, ACTOR),
    "take a grant back": lambda it: it.rights.ungrant("bob", "acme", ACTOR),
    "visibility": lambda it: it.rights.set_public("ada/tiny", True, ACTOR),
    "add an account": lambda it: it.accounts.add_user("carol", key=NEW, actor=ACTOR),
    "disable an account": lambda it: it.accounts.disable("bob", ACTOR),
    "remove an account": lambda it: it.accounts.remove("bob", ACTOR),
    "add a key": lambda it: it.credentials.add_key("bob", NEW, ACTOR),
    "revoke a key": lambda it: it.credentials.revoke_key(ADA.fingerprint, ACTOR),
    "an organisation": lambda it: it.organisations.add("initech", "ada", ACTOR),
}


def prepare(directory: Path) -> None:
    """A registry with a model, two accounts and a grant."""
    registry = Registry.prepare(directory)
    registry.accounts.add_user("ada", key=ADA)
    registry.accounts.add_user("bob")
    for data in (WEIGHTS, SPARE):
        upload = registry.depot.begin("ada/tiny")
        upload.write(data)
        upload.commit(Digest.of(data))
        upload.close()
    registry.depot.publish("ada/tiny", OLD, "1")
    registry.rights.grant("bob", "acme", Right.READ)
    registry.close()


def content(directory: Path) -> tuple[dict[str, list[Any]], int]:
    """Every row of every table but the audit's, and how many rows that has."""
    with closing(sqlite3.connect(directory / "registry.db")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in names}
    return rows, len(rows.pop("audit"))


def made(directory: Path, change: Change, last: int) -> bool:
    """Make the change in a child that is killed in front of its `last`-th statement: whether it ended."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        return status == 0
    try:
        registry, left = Registry.open(directory), last

        def step(_statement: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        registry.depot.engine.dispose()
        event.listen(registry.depot.engine, "connect", lambda raw, _: raw.set_trace_callback(step))
        change(registry)
        os._exit(0)
    finally:
        os._exit(1)


def main() -> None:
    place, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    prepare(place / "first")
    before = content(place / "first")
    found = {}
    for name, change in CHANGES.items():
        killed, wrong = 0, []
        for last in range(first, MOST, step):
            shutil.rmtree(place / "next", ignore_errors=True)
            shutil.copytree(place / "first", place / "next")
            ended = made(place / "next", change, last)
            after = content(place / "next")
            changed, told = after[0] != before[0], after[1] != before[1]
            if changed != told or (ended and not told):
                wrong.append(last)
            if ended:
                break
            killed += 1
        found[name] = {"killed": killed, "wrong": wrong}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
