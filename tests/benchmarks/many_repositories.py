#!/usr/bin/env python3
"""Lists and reclaims in a `ferry serve` that holds very many models, and prints milliseconds.

    PATH=…/peers:$PATH python tests/benchmarks/many_repositories.py [--repositories 10000] [--tags 10]
        [--blobs 2] [--runs 20] [--json FILE]

The rows are written into the database, the blobs as files of a few bytes. An administrator asks for pages of
the catalogue, and for the tags of one repository; then `ferry admin gc` runs with nothing to do, while others
write: their longest wait for the write lock is how long it stopped them. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers import ferry_command, free_port, http_call, running
from small_requests import KEY, signed

from registry.model.digests import Digest
from registry.server.registry import Registry
from registry.server.tables import BLOBS, LINKS, MANIFESTS, NAMESPACES, PARTS, REPOSITORIES, TAGS

NAMESPACE = "many"
AT_ONCE = 500


def filled(data: Path, repositories: int, tags: int, blobs: int) -> None:
    """Make the data directory, with one administrator in it."""
    registry = Registry.prepare(data)
    registry.accounts.add_user("ada", admin=True, key=KEY.public)
    now = time.time()
    with registry.depot.engine.begin() as database:
        database.execute(NAMESPACES.insert().values(id=1000, name=NAMESPACE, created=now))
        for start in range(0, repositories, AT_ONCE):
            numbers = range(start + 1, min(start + AT_ONCE, repositories) + 1)
            rows = [
                {"id": each, "name": f"{NAMESPACE}/model-{each:06}", "namespace": 1000} for each in numbers
            ]
            database.execute(REPOSITORIES.insert(), rows)
            for number in numbers:
                _one(database.execute, data, number, tags, blobs, now)
    registry.close()


def _one(execute: Callable[..., object], data: Path, number: int, tags: int, blobs: int, now: float) -> None:
    raw = json.dumps({"number": number}).encode()
    manifest = str(Digest.of(raw))
    contents = [f"{number} {each}".encode() for each in range(blobs)]
    digests = [Digest.of(content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        path = data / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sizes = dict(zip(map(str, digests), map(len, contents), strict=True))
    execute(BLOBS.insert(), [{"digest": key, "size": size, "checked": now} for key, size in sizes.items()])
    execute(LINKS.insert(), [{"repository": number, "digest": key, "since": 0.0} for key in sizes])
    row = {
        "repository": number,
        "digest": manifest,
        "media_type": "",
        "artifact_type": "",
        "descriptor": "{}",
    }
    execute(MANIFESTS.insert().values(**row, raw=raw, pushed=now, pushed_by="", used=now))
    execute(PARTS.insert(), [{"repository": number, "manifest": manifest, "part": key} for key in sizes])
    moved = {"repository": number, "digest": manifest, "moved": now, "moved_by": ""}
    execute(TAGS.insert(), [{**moved, "tag": f"v{each}"} for each in range(tags)])


def asked(host: str, target: str, runs: int) -> float:
    """The median of `runs` answers, in milliseconds."""
    path, signature = signed(host, "registry:catalog:*", f"repository:{NAMESPACE}/model-000001:pull")
    request = urllib.request.Request(f"http://{host}{path}", headers={"Authorization": signature})
    with urllib.request.urlopen(request) as answer:
        token = {"Authorization": f"Bearer {json.load(answer)['token']}"}
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        found = http_call("GET", f"http://{host}{target}", headers=token)
        took.append(1000 * (time.perf_counter() - began))
        assert found.status == 200 and len(found.body) > 200, found.body
    return statistics.median(took)


class Writer:
    """Takes the write lock again and again; the longest wait for it in milliseconds."""

    def __init__(self, data: Path) -> None:
        self._path = data / "registry.db"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=60)
        while not self._over.wait(0.005):
            began = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            self.longest = max(self.longest, 1000 * (time.perf_counter() - began))
            database.execute("ROLLBACK")
        database.close()


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--repositories", type=int, default=10_000)
    parser.add_argument("--tags", type=int, default=10)
    parser.add_argument("--blobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="ferry-many-"))
    data, host = place / "data", f"127.0.0.1:{free_port()}"
    found: dict[str, float] = {}
    try:
        filled(data, told.repositories, told.tags, told.blobs)
        command = [*ferry_command(), "serve", "--data", str(data), "--listen", host]
        ready = f"http://{host}/healthz"
        with running(command, place / "log", lambda: http_call("GET", ready).status == 200):
            middle = f"{NAMESPACE}/model-{told.repositories // 2:06}"
            found["catalogue, first page"] = asked(host, "/v2/_catalog", told.runs)
            found["catalogue, a page in the middle"] = asked(host, f"/v2/_catalog?last={middle}", told.runs)
            found["catalogue, 100 entries"] = asked(host, "/v2/_catalog?n=100", told.runs)
            found["tags"] = asked(host, f"/v2/{NAMESPACE}/model-000001/tags/list", told.runs)
            with Writer(data) as writer:
                began = time.perf_counter()
                gc = [*ferry_command(), "admin", "gc", "--data", str(data)]
                done = subprocess.run(gc, check=True, capture_output=True, text=True)
                found["gc with nothing to do"] = 1000 * (time.perf_counter() - began)
            found["the longest anybody waited to write meanwhile"] = writer.longest
        print("| work | ms |\n| --- | ---: |")
        print("\n".join(f"| {work} | {took:,.1f} |" for work, took in found.items()))
        print(done.stdout.strip())
        if told.json:
            told.json.write_text(json.dumps(found, indent=1) + "\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
