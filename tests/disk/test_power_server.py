"""Power fails at any moment of an upload: a blob that the database knows is on the disk, whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from power import Recorder, power_loss
from sqlalchemy import event

from registry.disk import system as calls
from registry.model.digests import Digest
from registry.server.registry import Registry

CUTS = 40


@pytest.mark.seeds(6)
def test_a_blob_is_durable_before_the_database_says_so(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    depot = Registry.prepare(tmp_path).depot
    recorder = Recorder()
    monkeypatch.setattr(calls, "system", recorder)
    closing: list[str] = []

    @event.listens_for(depot.engine, "commit")
    def committing(_connection: object) -> None:
        for digest in closing:
            recorder.promise(digest)

    blobs = {Digest.of(data): data for data in (chance.randbytes(5000), chance.randbytes(20), b"")}

    for digest, data in blobs.items():
        upload = depot.begin("acme/tiny")
        for at in range(0, len(data), 999):
            upload.write(data[at : at + 999])
        upload.close()
        upload = depot.upload("acme/tiny", upload.id)
        closing.append(str(digest))
        upload.commit(digest)
        upload.close()
    monkeypatch.setattr(calls, "system", calls.System())
    depot.engine.dispose()

    kept = 0
    for _ in range(CUTS):
        files, promised = power_loss(recorder.events[: chance.randrange(len(recorder.events) + 1)], chance)
        there = {path.name: content for path, content in files.items() if path.parts[-4] == "blobs"}
        for digest, data in blobs.items():
            if str(digest) in promised:
                kept += 1
                assert there.get(digest.hex) == data
    assert kept, "nothing was ever promised"
