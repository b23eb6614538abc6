"""A signal at any instant: 143 or 130, one sentence at most, and what arrived is kept.

By hand, hundreds of instants: pytest tests/cli/test_signals.py --runs 300
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faultplan import Link
from faultproxy import FaultProxy
from house import House
from invariants import check_store
from peers import free_port
from person import FERRY, ROOT, Ferry
from stored_models import put_model

from cli.signals import Signals, Terminated

MB = 1_000_000
SIZE = 6 * MB
CODES = {signal.SIGTERM: (143, -signal.SIGTERM), signal.SIGINT: (130, -signal.SIGINT)}


@pytest.fixture(scope="module")
def slow_house(people: Callable[[str], Ferry], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry behind a slow line, in which ada has an account."""
    host = tmp_path_factory.mktemp("slow")
    with FaultProxy(link=Link(total=5 * MB)) as proxy:
        far = f"127.0.0.1:{proxy.port}"
        opened = House(Ferry(host), "--public-url", f"http://{far}")
        port = free_port()
        opened.host = f"127.0.0.1:{port}"
        proxy.upstream = ("127.0.0.1", port)
        opened.open()
        try:
            opened.welcome(people("ada"), "ada")
            yield far
        finally:
            opened.close()


@pytest.fixture(scope="module")
def pushed(people: Callable[[str], Ferry], slow_house: str) -> bytes:
    """A model at the slow registry: its manifest."""
    ada = people("ada")
    raw = put_model(ada.models, f"{slow_house}/ada/told/1", os.urandom(SIZE))
    ada("push", f"{slow_house}/ada/told:1").well()
    return raw


@pytest.mark.seeds(4)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", ["pull", "push"])
def test_a_transfer_that_is_told_to_stop_at_any_instant_stops(
    way: str,
    number: signal.Signals,
    seed: int,
    people: Callable[[str], Ferry],
    slow_house: str,
    pushed: bytes,
    tmp_path: Path,
) -> None:
    ada, chance = people("ada"), random.Random(f"{seed} {number}")
    name = f"{slow_house}/ada/told:1"
    if way == "pull":
        process = ada.start("pull", name, "--models", tmp_path)
    else:
        put_model(ada.models, f"{slow_house}/ada/sent/1", chance.randbytes(SIZE))
        process = ada.start("push", f"{slow_house}/ada/sent:1")
    time.sleep(chance.uniform(0, 2.5))
    process.send_signal(number)
    _out, said = process.communicate(timeout=30)

    if "Fatal Python error: init_import_site" in said:  # it came before Python had begun with Ferry
        return
    assert process.returncode in (*CODES[number], 0), said
    for word in ("Traceback", "bug in Ferry", "trying again", "Exception"):
        assert word not in said
    if process.returncode == CODES[number][0]:
        assert said.splitlines()[-1].startswith("ferry: ")
    if "goes on" in said:  # a registry need not keep what came of a request that ended within
        assert ("what arrived is kept" in said, "what the registry has kept" in said)[way == "push"]
    if way == "pull" and seed % 4 == 0:
        ada("pull", name, "--models", tmp_path).well()
        check_store(tmp_path, {f"{slow_house}/ada/told/1": [pushed]})


def test_a_signal_is_raised_only_where_the_main_thread_waits() -> None:
    """And however many there are, the first counts."""
    signals, stopped = Signals(), threading.Event()
    before = [signal.getsignal(number) for number in CODES]
    signals.watch()

    def stop() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        stopped.set()
        return True

    def work() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        stopped.wait(20)
        return "let go"

    try:
        with pytest.raises(Terminated):
            signals.beside(work, stop)
    finally:
        for number, handler in zip(CODES, before, strict=True):
            signal.signal(number, handler)

    assert signals.arrived == signal.SIGTERM


def test_what_a_command_returns_or_raises_beside_the_main_thread_is_its_own() -> None:
    signals = Signals()

    assert signals.beside(lambda: 7, lambda: False) == 7
    with pytest.raises(ZeroDivisionError):
        signals.beside(lambda: 1 / 0, lambda: False)


def installed() -> tuple[str, ...]:
    """What the program `ferry` does that pip makes of the entry in pyproject.toml."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["ferry"]
    module, _, function = entry.partition(":")
    return (sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())")


@pytest.mark.parametrize("program", [FERRY, installed()], ids=["module", "installed"])
def test_ctrl_c_while_ferry_is_still_being_imported_says_nothing(
    program: tuple[str, ...], ferry: Ferry, tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = ferry.env(PYTHONPATH=f"{tmp_path}:{ROOT}")

    done = subprocess.run([*program, "version"], env=env, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_signal_that_lands_just_before_the_wait_begins_is_noticed_soon() -> None:
    """It ends no wait then, and its handler runs only when the main thread does something again."""
    signals, over = Signals(), threading.Event()

    def work() -> bool:
        signals.arrived = signal.SIGTERM  # and nobody is woken
        return over.wait(10)

    began = time.monotonic()
    with pytest.raises(Terminated):
        signals.beside(work, lambda: False)

    over.set()
    assert time.monotonic() - began < 8
