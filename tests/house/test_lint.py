"""The code keeps to the house style: ruff's rules and format, and strict types, tests included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ["registry", "cli", "tests", "tests/run"]


def run(*arguments: str, mypy_path: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": mypy_path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments[:3])}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet", *CODE)


def test_ruff_would_format_nothing() -> None:
    run("ruff", "format", "--check", "--quiet", *CODE)


def test_every_type_of_the_library_and_the_command_line_holds() -> None:
    run("mypy", "--strict", "--no-error-summary")


def test_every_type_of_the_tests_holds() -> None:
    """As one program. Nested conftest.py files share one module name and are left out: keep them small."""
    tests = ROOT / "tests"
    rooms = [tests, *sorted(path for path in tests.rglob("*") if path.is_dir())]
    files = [path for path in tests.rglob("*.py") if path.name != "conftest.py" or path.parent == tests]
    path = os.pathsep.join(map(str, rooms))
    run(
        "mypy", "--strict", "--no-error-summary", "--explicit-package-bases", *map(str, files), mypy_path=path
    )
