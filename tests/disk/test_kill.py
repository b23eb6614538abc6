"""SIGKILL at any moment: what is named is right, the next run goes on, and little is fetched twice."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import writer
from invariants import check_store, snapshot
from sample_models import Model

from registry.targets.store import Store

SIZES = (700_000, 1, 300_000)
TOTAL = sum(SIZES) + 23  # and the config
KEY = "models.example/acme/killed/1"


@contextlib.contextmanager
def running(models: Path, seed: int, pause: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, writer.__file__, str(models), str(seed), ",".join(map(str, SIZES)), str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def fetched(output: str) -> int:
    return sum(int(line.split()[1]) for line in output.splitlines() if line.startswith("fetched"))


@pytest.mark.seeds(4)
def test_a_killed_pull_and_a_killed_resume_go_on_where_they_were(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    models = tmp_path / "models"
    sentinel = tmp_path / "sentinel"
    sentinel.mkdir()
    (sentinel / "file").write_bytes(b"not ours")
    before = snapshot(sentinel)
    manifest = Model.random(seed, *SIZES).manifest.raw
    total = 0

    for _ in range(2):
        with running(models, seed, 0.01) as process:
            assert process.stdout and process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.35))
            process.kill()
            total += fetched(process.stdout.read())
        check_store(models, {KEY: [manifest]})
    with running(models, seed, 0) as process:
        output = process.communicate(timeout=60)[0]
        total += fetched(output)

    assert process.returncode == 0
    assert output.endswith("done\n")
    check_store(models, {KEY: [manifest]})
    assert snapshot(sentinel) == before
    assert total <= TOTAL + 2 * writer.WORKERS * writer.GRAIN  # one span a worker and kill


@pytest.mark.seeds(1)
def test_eight_writers_bring_each_blob_once_although_one_is_killed(seed: int, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with contextlib.ExitStack() as all_of_them:
        processes = [all_of_them.enter_context(running(models, seed, 0.002)) for _ in range(8)]
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n"
        time.sleep(0.15)
        victim = next((one for one in processes if one.poll() is None), processes[0])
        victim.kill()
        outputs = [process.communicate(timeout=60)[0] for process in processes]

    assert [one.returncode for one in processes if one is not victim] == [0] * 7
    assert sum(map(fetched, outputs)) <= TOTAL + writer.WORKERS * writer.GRAIN
    check_store(models, {KEY: [Model.random(seed, *SIZES).manifest.raw]})


def test_what_a_killed_pull_leaves_is_reclaimed_after_an_hour_not_before(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with running(models, 1, 0.05) as process:
        assert process.stdout
        while not process.stdout.readline().startswith("fetched"):
            pass
        time.sleep(0.2)
        at_work = Store(models).prune(time.time() + 7200)
        process.kill()
    store = Store(models)

    early = store.prune(time.time() + 3000)
    late = store.prune(time.time() + 4000)

    assert at_work.items == early.items == ()
    assert late.items
    assert [path for path in (models / ".ferry").rglob("*") if path.suffix in (".data", ".journal")] == []
    check_store(models, {})
