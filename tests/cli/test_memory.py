"""Memory is bounded by buffers and workers, whatever the model's size (BAR, I8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from peers import ferry_command, ferry_server
from shelf import put_model

LAUNCH = Path(__file__).resolve().parents[1] / "benchmarks" / "launch.py"
MiB = 1024 * 1024
SIZE = 192 * MiB
CLIENT = 80 * MiB
SERVER = 200 * MiB


def peak(home: Path, *words: str) -> int:
    """The most memory that a run of ferry has, in bytes."""
    report = home / "cost.json"
    subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCH), str(report), os.devnull, *ferry_command(), *words],
        env={**os.environ, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    cost = json.loads(report.read_text())
    assert cost["code"] == 0
    kibibytes: int = cost["rss_kib"]
    return kibibytes * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
@pytest.mark.parametrize("jobs", ["1", "16", "64"])
def test_a_large_model_costs_little_memory(jobs: str, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    put_model(home / ".ollama" / "models", "registry.ollama.ai/library/big/latest", os.urandom(SIZE))
    with ferry_server(tmp_path / "served") as registry:
        name = f"{registry.host}/lab/big:1"
        pushed = peak(home, "push", "big", name, "--jobs", jobs, "--quiet")
        pulled = peak(other, "pull", name, "--jobs", jobs, "--quiet")
        status = Path(f"/proc/{registry.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        served = int(line.split()[1]) * 1024

    assert max(pushed, pulled) <= CLIENT, f"{pushed / MiB:.0f} MiB to push, {pulled / MiB:.0f} MiB to pull"
    assert served <= SERVER
