"""`ferry demo` does what it says, on a machine and in a home where nothing is."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from person import Ferry, quick
from shell import bash, put_ferry

from cli import demo_sandbox
from cli.demo_sandbox import Sandbox
from cli.signals import Signals

TITLES = 11


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def test_every_step_does_what_it_says_and_nothing_is_left(ferry: Ferry, tmp: Path) -> None:
    """What it starts is forked here; below it starts as it does elsewhere, and its cost is measured."""
    started = f"import sys, cli.demo_sandbox as demo; demo._FERRY = {tuple(quick())}; sys.argv[0] = 'ferry'\n"
    started += "from cli.__main__ import main; main()"
    command = [sys.executable, "-c", started, "demo", "--format", "json"]
    done = subprocess.run(
        command,
        env=ferry.env(TMPDIR=str(tmp)),
        cwd=ferry.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == {"ok", "seconds", "directory", "steps"}
    assert (told["ok"], told["directory"]) == (True, None)
    assert [step["ok"] for step in told["steps"]] == [True] * TITLES
    assert all(step.keys() == {"title", "commands", "says", "ok", "seconds"} for step in told["steps"])
    assert list(tmp.iterdir()) == []
    assert list(ferry.home.iterdir()) == []


def test_keep_leaves_everything_and_says_how_to_go_on(ferry: Ferry, tmp: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = ferry("demo", "--keep", TMPDIR=str(tmp), LC_ALL="C", PYTHONUTF8="0", seconds=300).well()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 1 < took < 60, "seconds of the processor: what else runs is not ours"
    assert done.out.isascii()
    assert f"{TITLES} of {TITLES} steps" in done.out
    said = [line for line in done.out.splitlines() if "$ " not in line and str(tmp) not in line]
    assert [line for line in said if len(line) > 80] == []
    folder = next(tmp.iterdir())
    typed = [line.strip() for line in done.out[done.out.index("To go on") :].splitlines() if line[:2] == "  "]
    assert typed[0] == f"cd {folder}"
    assert typed[1].startswith("ferry serve")
    env = {"HOME": str(ferry.home), "PATH": f"{put_ferry(tmp.parent / 'bin')}:/usr/bin:/bin"}
    script = "\n".join(
        ["set -e", typed[0], f"{typed[1]} > ready &", "while ! grep -q ready ready; do sleep 0.2; done"]
    )
    script += "\n" + "\n".join(typed[2:]) + "\nkill %1\nwait %1\n"
    went_on = bash(script, tmp, env)
    assert went_on.returncode == 0, went_on.stderr
    assert "/ada/tiny:1.0" in went_on.stdout


def test_ctrl_c_in_the_middle_cleans_up(ferry: Ferry, tmp: Path) -> None:
    process = ferry.start("demo", TMPDIR=str(tmp), stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    for line in process.stdout:
        if "ready on" in line:
            break
    folder = next(tmp.iterdir())
    registry = folder / "registry"
    assert registry.is_dir()
    os.kill(process.pid, signal.SIGINT)
    process.stdout.read()
    assert process.wait(30) == 130
    process.stdout.close()
    assert list(tmp.iterdir()) == []


@pytest.fixture
def sandbox(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox in `tmp` in which every ferry runs for a minute."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp))
    monkeypatch.setattr(demo_sandbox, "_FERRY", ("sh", "-c", "exec sleep 60"))
    return Sandbox(keep=False, signals=Signals())


def test_what_runs_in_a_closed_sandbox_is_gone_and_nothing_starts_there(sandbox: Sandbox, tmp: Path) -> None:
    ended: list[KeyboardInterrupt] = []

    def work() -> None:
        try:
            sandbox.serve()
        except KeyboardInterrupt as error:
            ended.append(error)

    sandbox.make_directory()
    worker = threading.Thread(target=work)
    worker.start()
    while not sandbox._running:
        worker.join(0.01)
    sandbox.close()
    worker.join()

    assert len(ended) == 1
    [process] = sandbox._running
    assert process.stdout
    process.stdout.close()
    assert process.returncode is not None
    assert list(tmp.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        sandbox.ferry("ada", "version")
    assert sandbox._running == [process]


def test_nothing_is_made_after_a_signal(sandbox: Sandbox, tmp: Path) -> None:
    sandbox.signals.arrived = signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        sandbox.make_directory()
    sandbox.close()
    assert list(tmp.iterdir()) == []
