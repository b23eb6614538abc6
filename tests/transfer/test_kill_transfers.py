"""SIGKILL at any moment of a pull, a resumed pull, a push (either end): the next run goes on, nothing lies.

By hand, for long: pytest tests/transfer/test_kill_transfers.py --runs 1000
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import exiting as exiter
import killed_copy
import pytest
from far_client import SPAN, MiB, options, store
from faultplan import Link
from invariants import check_store, snapshot
from sample_models import Model, put
from scripts import Script, run_script, running_script
from through_faults import SMALL, Line, line, model, total

from registry.contracts import Intake
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.targets.remote import Remote
from registry.targets.sessions import file_sessions
from registry.transfer.copy import copy

SIZE = 12 * MiB
RATE = 24 * MiB  # bytes a second: a transfer takes about half a second
MOMENTS = 0.7  # seconds within which a transfer is killed
TESTS_A_LINE = 50
IN_FLIGHT = MiB  # what the line's buffers may hold when one end is gone, and a manifest


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Line]]:
    """The same line for so many tests, then a new one: after each test all that its server holds is read."""
    with contextlib.ExitStack() as running:

        def endless() -> Iterator[Line]:
            while True:
                running.close()
                place = tmp_path_factory.mktemp("line")
                running.callback(shutil.rmtree, place)
                opened = running.enter_context(line(place, link=Link(total=RATE)))
                yield from itertools.repeat(opened, TESTS_A_LINE)

        yield endless()


@pytest.fixture
def over(lines: Iterator[Line]) -> Line:
    return next(lines)


@pytest.fixture(scope="module")
def steps_of_a_pull() -> list[int]:
    """How many steps one takes, once it is known: the same for each model of this size."""
    return []


@pytest.fixture
def carried(seed: int) -> Model:
    return model(seed, SIZE)


@pytest.fixture
def name(over: Line, request: pytest.FixtureRequest) -> Name:
    """A repository of its own, through the proxy."""
    own = re.sub("[^a-z0-9]+", "-", request.node.name)[-60:].strip("-")
    return Name.parse(f"127.0.0.1:{over.proxy.port}/ada/{own}:1")


@contextlib.contextmanager
def carrying(way: str, name: Name, place: Path, source: Name | None = None) -> Iterator[Script]:
    """A process that moves a model, from the moment it is ready; killed at the end of the block."""
    words = [way, str(name), str(source or place / "models"), str(place / "state")]
    with running_script(killed_copy.__file__, words) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process


def killed(way: str, name: Name, place: Path, moment: float, source: Name | None = None) -> None:
    with carrying(way, name, place, source):
        time.sleep(moment)


def finished(way: str, name: Name, place: Path, source: Name | None = None) -> None:
    with carrying(way, name, place, source) as process:
        assert process.stdout is not None and process.stdout.read() == "done\n"
        assert process.wait(60) == 0


def key_of(name: Name) -> str:
    return f"{name.host}/{name.repository}/{name.tag}"


def direct(over: Line, name: Name) -> Name:
    """The same model past the proxy."""
    return Name.parse(f"{over.server.host}/{name.repository}:{name.tag}")


def check_server(over: Line, name: Name, carried: Model, place: Path) -> None:
    """I1 and I2 at the registry: every blob hashes to its name, and the model is whole."""
    for path in (over.server.data / "blobs").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                assert hashlib.file_digest(file, path.parent.parent.name).hexdigest() == path.name
    there = direct(over, name)
    fetched = store(place / "fetched")
    with over.remote(there) as remote:
        copy(remote, fetched, there)
    fetched.close()
    check_store(place / "fetched", {key_of(there): [carried.manifest.raw]})


def held(over: Line) -> int:
    """How many bytes of blobs and uploads the server has on its disk.

    What the system had taken for it and a busy server had not read yet is lost with it, and is any number.
    """
    data = over.server.data
    files = [path for room in ("blobs", "uploads") for path in (data / room).rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())


@pytest.mark.seeds(4)
def test_a_pull_killed_twice_is_finished_by_the_third(
    seed: int, over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    sentinel = tmp_path / "sentinel"
    sentinel.mkdir()
    (sentinel / "file").write_bytes(b"not ours")
    before = snapshot(sentinel)
    with over.remote(direct(over, name)) as remote:
        put(remote, direct(over, name), carried)
    down = over.proxy.stats.down
    tags = {key_of(name): [carried.manifest.raw]}

    for _ in range(2):
        killed("pull", name, tmp_path, chance.uniform(0, MOMENTS))
        check_store(tmp_path / "models", tags)
    finished("pull", name, tmp_path)

    check_store(tmp_path / "models", tags)
    assert len(list((tmp_path / "models" / "manifests").rglob("1"))) == 1
    assert snapshot(sentinel) == before
    moved = over.proxy.stats.down - down
    assert moved <= total(carried) + 2 * (killed_copy.JOBS * SPAN + IN_FLIGHT), f"{moved} of {total(carried)}"


@pytest.mark.seeds(4)
def test_a_push_whose_client_is_killed_is_finished_by_the_next(
    seed: int, over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    place = store(tmp_path / "models")
    put(place, name, carried)
    place.close()
    before = snapshot(tmp_path / "models" / "blobs", tmp_path / "models" / "manifests")
    up = over.proxy.stats.up

    killed("push", name, tmp_path, chance.uniform(0, MOMENTS))
    finished("push", name, tmp_path)

    check_server(over, name, carried, tmp_path)
    assert snapshot(tmp_path / "models" / "blobs", tmp_path / "models" / "manifests") == before
    moved = over.proxy.stats.up - up
    assert moved <= total(carried) + IN_FLIGHT, f"{moved} of {total(carried)}"


@pytest.mark.seeds(3)
def test_a_mirror_that_is_killed_is_finished_by_the_next_and_leaves_nothing_here(
    seed: int, over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    source = Name.parse(f"{over.server.host}/ada/source-{seed}:1")
    with over.remote(source) as remote:
        put(remote, source, carried)
    up = over.proxy.stats.up

    killed("mirror", name, tmp_path, random.Random(seed).uniform(0, MOMENTS), source)
    finished("mirror", name, tmp_path, source)

    assert [path.name for path in tmp_path.iterdir()] in ([], ["state"])
    check_server(over, name, carried, tmp_path)
    moved = over.proxy.stats.up - up
    assert moved <= total(carried) + IN_FLIGHT, f"{moved} of {total(carried)}"


class Witness:
    """The blobs that a registry has said it holds."""

    def __init__(self) -> None:
        self.promised: list[Descriptor] = []
        self.answered = threading.Event()  # whether it has said anything to the copy

    def watching(self, remote: Remote) -> Watched:
        return Watched(remote, self)


class Watched:
    """A registry, every commit of which is remembered once it was answered."""

    def __init__(self, inner: Remote, witness: Witness) -> None:
        self._inner = inner
        self._witness = witness
        self.prepare, self.size, self.publish = inner.prepare, inner.size, inner.publish

    def current(self, name: Name) -> Digest | None:
        found = self._inner.current(name)
        self._witness.answered.set()
        return found

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
        intake = self._inner.receive(name, blob, near)
        if intake is None:
            return None
        commit = intake.commit

        def witnessed() -> None:
            commit()
            self._witness.promised.append(blob)

        intake.commit = witnessed  # type: ignore[method-assign]
        return intake


@pytest.mark.seeds(4)
def test_a_push_whose_server_is_killed_goes_on_when_it_is_back(
    seed: int, over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    place = store(tmp_path / "models")
    put(place, name, carried)
    had = held(over)
    witness = Witness()

    def push() -> None:
        with over.remote(name, file_sessions(tmp_path / "state")) as remote:
            copy(place, witness.watching(remote), name, options=options())

    pushing = threading.Thread(target=push)
    pushing.start()
    assert witness.answered.wait(30)  # a registry that never answered is given up within seconds
    time.sleep(chance.uniform(0, MOMENTS))
    over.kill()
    promised = list(witness.promised)
    over.proxy.cut()
    kept_bytes, up = held(over) - had, over.proxy.stats.up
    over.start()
    with over.remote(direct(over, name)) as remote:
        kept = [blob for blob in promised if remote.size(direct(over, name), blob) == blob.size]
    pushing.join(60)
    place.close()

    assert kept == promised, "a blob the server had said 201 to did not survive SIGKILL"
    assert not pushing.is_alive()
    check_server(over, name, carried, tmp_path)
    moved, missing = over.proxy.stats.up - up, total(carried) - kept_bytes
    again = IN_FLIGHT + sum(SMALL)  # small ones that were under way come whole once more
    assert moved <= missing + again, f"{moved}, where {missing} were missing"


@pytest.mark.seeds(3)
def test_a_model_that_was_published_survives_the_server_at_once(
    over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    with over.remote(direct(over, name)) as remote:
        put(remote, direct(over, name), carried)
    over.kill()
    over.start()

    check_server(over, name, carried, tmp_path)


# --- an exit at every step towards a commit ------------------------------------------------------------


def exiting(count: int, way: str, name: Name, place: Path) -> tuple[int, int]:
    """Pull or push with an end at that step; the exit code, and the number of steps if it got through."""
    words = [str(count), killed_copy.__file__, way, str(name), str(place / "models"), str(place / "state")]
    code, said = run_script(exiter.__file__, words)
    return code, int(said.split()[-1]) if code == 0 else 0


@pytest.mark.seeds(1)
@pytest.mark.parametrize("eighth", range(8))
def test_a_pull_that_ends_at_any_step_is_finished_by_the_next(
    seed: int,
    eighth: int,
    over: Line,
    name: Name,
    carried: Model,
    steps_of_a_pull: list[int],
    tmp_path: Path,
) -> None:
    with over.remote(direct(over, name)) as remote:
        put(remote, direct(over, name), carried)
    if not steps_of_a_pull:
        code, steps = exiting(0, "pull", name, tmp_path / "whole")
        assert code == 0 and steps > 16
        steps_of_a_pull.append(steps)
    [steps] = steps_of_a_pull
    low, high = steps * eighth // 8, steps * (eighth + 1) // 8

    code, _ = exiting(1 + random.Random(seed).randrange(low, high), "pull", name, tmp_path)
    assert code in (exiter.CODE, 0)  # how many syncs go together differs a little
    check_store(tmp_path / "models", {key_of(name): [carried.manifest.raw]})
    finished("pull", name, tmp_path)

    check_store(tmp_path / "models", {key_of(name): [carried.manifest.raw]})


@pytest.mark.seeds(1)
@pytest.mark.parametrize("step", [1, 2, 4, 7, 11, 15, 19, 23])
def test_a_push_goes_on_whatever_step_its_server_ended_at(
    step: int, over: Line, name: Name, carried: Model, tmp_path: Path
) -> None:
    place = store(tmp_path / "models")
    put(place, name, carried)
    witness = Witness()
    over.kill()
    over.start(sys.executable, exiter.__file__, str(step), "-m", "cli")
    victim = over.server.process

    def push() -> None:
        with over.remote(name, file_sessions(tmp_path / "state")) as remote:
            copy(place, witness.watching(remote), name, options=options())

    pushing = threading.Thread(target=push)
    pushing.start()
    assert victim.wait(30) == exiter.CODE
    promised = list(witness.promised)
    over.start()
    with over.remote(direct(over, name)) as remote:
        kept = [blob for blob in promised if remote.size(direct(over, name), blob) == blob.size]
    pushing.join(60)
    place.close()

    assert kept == promised
    assert not pushing.is_alive()
    check_server(over, name, carried, tmp_path)
