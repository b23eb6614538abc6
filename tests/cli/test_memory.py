"""Memory is bounded by buffers and workers, whatever the model's size (BAR, I8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from peers import ferry_command, ferry_server
from stored_models import put_layers, put_model

LAUNCH = Path(__file__).resolve().parents[1] / "benchmarks" / "launch.py"
BIG = "registry.ollama.ai/library/big/latest"
KiB = 1024
MiB = 1024 * KiB
SIZE = 160 * MiB
CLIENT = 80 * MiB
SERVER = 200 * MiB


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")


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


def served_at_most(process: int) -> int:
    """The most memory that a running server has had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def copy_both_ways(tmp_path: Path, lay: Callable[[Path], object], *words: str) -> tuple[int, int, int]:
    """Push and pull what `lay` puts into a store; the most memory each took, and the server's."""
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    lay(home / ".ollama" / "models")
    with ferry_server(tmp_path / "served", program=ferry_command()) as registry:
        name = f"{registry.host}/lab/big:1"
        pushed = peak(home, "push", "big", name, "--quiet", *words)
        pulled = peak(other, "pull", name, "--quiet", *words)
        return pushed, pulled, served_at_most(registry.process.pid)


def check(pushed: int, pulled: int, served: int) -> None:
    assert max(pushed, pulled) <= CLIENT, f"{pushed / MiB:.0f} MiB to push, {pulled / MiB:.0f} MiB to pull"
    assert served <= SERVER


@pytest.mark.parametrize("jobs", ["1", "64"])
def test_a_large_model_costs_little_memory(jobs: str, tmp_path: Path) -> None:
    weights = os.urandom(MiB) * (SIZE // MiB)

    check(*copy_both_ways(tmp_path, lambda models: put_model(models, BIG, weights), "--jobs", jobs))


def test_many_small_layers_cost_little_memory(tmp_path: Path) -> None:
    layers = (("license", os.urandom(128 * KiB)) for _ in range(700))

    check(*copy_both_ways(tmp_path, lambda models: put_layers(models, BIG, layers)))
