"""The code keeps to the house style: ruff's rules and format, and strict types, tests included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ["registry", "cli", "tests", "tests/run"]


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet", *CODE)


def test_ruff_would_format_nothing() -> None:
    run("ruff", "format", "--check", "--quiet", *CODE)


def test_every_type_of_the_library_and_the_command_line_holds() -> None:
    run("mypy", "--strict", "--no-error-summary")


def test_every_type_of_the_tests_holds() -> None:
    run(
        "mypy",
        "--strict",
        "--no-error-summary",
        "--explicit-package-bases",
        "tests/conftest.py",
        "tests/peers.py",
    )
