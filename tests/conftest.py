"""What every test stands on: a home of its own, an end to its patience, seeds, and real programs."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["peers"]

PATIENCE = 300.0  # seconds; a test that needs more says so with @pytest.mark.patience(seconds)
LONG = 3600.0  # seconds, for each test where --steps asks for a long world

MiB = 1024 * 1024
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>

# How long an example takes, or takes to make, says how busy the machine is and nothing of Ferry.
settings.register_profile("ferry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferry")

# What would let a test see, or touch, the person's own models, keys and settings.
PERSONAL = (
    "FERRY_",
    "OLLAMA_",
    "XDG_",
    "DOCKER_",
    "REGISTRY_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
OURS = ("FERRY_TESTS_",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--runs", type=int, metavar="N", help="runs of each randomised test (default: its CI size)"
    )
    parser.addoption(
        "--seed", type=int, metavar="N", help="the first random seed (default: a new one each time)"
    )
    parser.addoption(
        "--steps", type=int, metavar="N", help="operations of each random world (default: its CI size)"
    )
    parser.addoption("--size", type=int, default=64, metavar="MIB", help="weights behind the fault proxy")
    parser.addoption("--faults", type=int, default=40, metavar="N", help="faults of the fault proxy")


def keep_memory() -> None:
    """Memory that is freed is kept for what needs some next (glibc), in this process and in none it starts.

    Else each blob that a test has in memory is pages of its own, which the system empties one by one: that is
    a third of the processor time of the tests with large ones.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    for what, most in ((M_MMAP_THRESHOLD, 128 * MiB), (M_TRIM_THRESHOLD, 512 * MiB)):
        if change is not None:
            change(what, most)


def pytest_configure(config: pytest.Config) -> None:
    keep_memory()
    config.addinivalue_line("markers", "patience(seconds): how long this test may take before it is failed")
    config.addinivalue_line(
        "markers", "seeds(count, *fixed): how often a test with a `seed` runs, and cases to keep"
    )
    if config.option.seed is None:
        told = getattr(config, "workerinput", {})
        config.option.seed = told.get("seed", random.SystemRandom().randrange(10**9))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: every process must collect the same tests, and so begin with the same seed."""
    node.workerinput["seed"] = node.config.option.seed


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests and what they import live until the end: the garbage collector leaves them alone."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `seed` runs once per seed; the seed stands in the test's name."""
    if "seed" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("seeds")
    count, *fixed = marker.args if marker else (1,)
    runs = metafunc.config.getoption("--runs") or count
    start = metafunc.config.getoption("--seed")
    metafunc.parametrize("seed", [*fixed, *range(start, start + runs)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a test that hangs, where it hangs, instead of the whole run."""
    marker = item.get_closest_marker("patience")
    seconds = float(marker.args[0]) if marker else PATIENCE
    if item.config.option.steps is not None:
        seconds = LONG

    def enough(_signal: int, _frame: types.FrameType | None) -> None:
        pytest.fail(f"still running after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def steps(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """How many operations a random world has, from how many it has in CI."""
    asked: int | None = pytestconfig.option.steps
    return lambda usual: usual if asked is None else asked


@pytest.fixture(scope="session", autouse=True)
def _nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home and no settings: no test reads or writes what belongs to the person running it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(PERSONAL) and not name.startswith(OURS):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield home
