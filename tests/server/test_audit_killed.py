"""A change that a kill left behind has its audit row, and one that it undid has none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_changes.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_wherever_a_process_is_killed_a_change_and_its_audit_row_are_one(pytestconfig: pytest.Config) -> None:
    step = 1 if pytestconfig.getoption("--runs") else 3
    first = str(random.randint(1, step))
    memory = Path("/dev/shm")  # nothing here is to survive more than a process
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        command = [sys.executable, str(PROGRAM), place, first, str(step)]
        done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}, first
    assert len(found) > 10
    assert all(each["killed"] >= 6 // step for each in found.values()), (first, found)
