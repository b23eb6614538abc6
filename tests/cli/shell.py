"""A bare shell in which `ferry` is on the PATH, as a person or a CI runner has it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import forked

Ended: TypeAlias = "subprocess.CompletedProcess[str]"
ROOT = Path(__file__).resolve().parents[2]


def put_ferry(folder: Path, *, confined: bool = False) -> Path:
    """Put a program `ferry` into `folder`; the folder.

    `confined` says that it will run where not every process does, a mount namespace say: then it is one that
    Python starts, else one that is forked from a process that has loaded it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "ferry"
    started = f"PYTHONPATH={ROOT} exec {sys.executable} -m cli"
    if forked.AVAILABLE and not confined:
        started = f"exec {shlex.join(forked.forks().program)}"
    program.write_text(f'#!/bin/sh\n{started} "$@"\n')
    program.chmod(0o755)
    return folder


def bash(script: str, cwd: Path, env: Mapping[str, str], seconds: float = 60) -> Ended:
    """Run a script with this environment and no terminal."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
