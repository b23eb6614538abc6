"""A line that breaks in every way there is: the model arrives, little moves twice, nothing is wrong.

By hand, bigger and longer: pytest tests/transfer/test_fault_proxy.py --runs 500 --size 256 --faults 200
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from far_client import SPAN, MiB, options, store
from faultplan import Plan
from invariants import check_store
from sample_models import Model, put
from through_faults import line, model, total

from registry.errors import DeniedError
from registry.targets.sessions import memory_sessions
from registry.transfer.copy import copy

PATIENCE = 600
TWICE = 1.25  # how much more than its size a transfer may move


@pytest.fixture
def size(pytestconfig: pytest.Config) -> int:
    megabytes: int = pytestconfig.getoption("--size")
    return megabytes * MiB


@pytest.fixture
def plan(seed: int, pytestconfig: pytest.Config) -> Plan:
    return Plan(seed, faults=pytestconfig.getoption("--faults"))


def bound(carried: Model, flips: int) -> float:
    """What a transfer may move; a bit flipped on the way costs the blob it is in once more."""
    largest = max(blob.size for blob in carried.manifest.blobs())
    return TWICE * total(carried) + flips * (largest + SPAN)


@pytest.mark.patience(PATIENCE)
@pytest.mark.seeds(2, 558976293)
def test_a_pull_finishes_over_a_line_that_breaks(seed: int, size: int, plan: Plan, tmp_path: Path) -> None:
    carried = model(seed, size)
    models = tmp_path / "models"
    with line(tmp_path / "line", plan) as over:
        with over.remote(over.near) as direct:
            put(direct, over.near, carried)
        place = store(models)
        with over.remote(over.far) as far:
            copy(far, place, over.far, options=options())
        place.close()
        stats = over.proxy.stats

    key = f"127.0.0.1:{over.proxy.port}/ada/carried/1"
    check_store(models, {key: [carried.manifest.raw]})
    assert stats.faults.total() == plan.faults, f"{stats}: not all faults came about"
    assert stats.down <= bound(carried, stats.faults["flip"]), stats


@pytest.mark.patience(PATIENCE)
@pytest.mark.seeds(1, 243067649, 425286985, 545107148, 653219258)
def test_a_push_finishes_over_a_line_that_breaks(seed: int, size: int, plan: Plan, tmp_path: Path) -> None:
    carried = model(seed, size)
    models = tmp_path / "models"
    place = store(models)
    with line(tmp_path / "line", plan) as over:
        put(place, over.far, carried)
        with over.remote(over.far) as far:
            copy(place, far, over.far, options=options())
        stats = over.proxy.stats

        again = store(tmp_path / "again")
        with over.remote(over.near) as direct:
            copy(direct, again, over.near)
        again.close()
    place.close()

    check_store(tmp_path / "again", {f"{over.server.host}/ada/carried/1": [carried.manifest.raw]})
    assert stats.faults.total() == plan.faults, f"{stats}: not all faults came about"
    assert stats.up <= bound(carried, stats.faults["flip"]), stats


@pytest.mark.patience(PATIENCE)
@pytest.mark.parametrize("way", ["pull", "push"])
def test_a_refusal_in_the_middle_ends_it_and_the_next_run_goes_on(way: str, tmp_path: Path) -> None:
    refusing = Plan(1, faults=1, up=("403",), down=("403",), small=(), odds=0.9, spare=7)
    carried = Model.random(1, 16 * MiB)  # alone: a small layer that is forbidden is tried in another way
    place = store(tmp_path / "models")
    sessions = memory_sessions()
    with line(tmp_path / "line", refusing) as over:
        with over.remote(over.near) as direct:
            if way == "pull":
                put(direct, over.near, carried)
            else:
                put(place, over.far, carried)
        for denied in (True, False):
            with (
                over.remote(over.far, sessions) as far,
                pytest.raises(DeniedError) if denied else contextlib.nullcontext(),
            ):
                there, here = (far, place) if way == "pull" else (place, far)
                copy(there, here, over.far, options=options())
        stats = over.proxy.stats

    assert stats.faults == {"403": 1}
    moved = stats.down if way == "pull" else stats.up
    assert total(carried) < moved <= TWICE * total(carried), stats
