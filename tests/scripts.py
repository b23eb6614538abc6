"""Scripts of the tests as processes: forked from one that has loaded Ferry, where that can be done."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import forked

Script: TypeAlias = "subprocess.Popen[str] | forked.Running"
_SECONDS = 60.0


@contextlib.contextmanager
def running_script(path: str, words: Sequence[str]) -> Iterator[Script]:
    """The script with these arguments, its standard output a pipe; SIGKILL at the end of the block."""
    process: Script
    if forked.AVAILABLE:
        with os.fdopen(2, "w", closefd=False) as errors:
            process = forked.forks().begin(words, os.environ, Path.cwd(), None, errors, path)
    else:
        process = subprocess.Popen([sys.executable, path, *words], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def run_script(path: str, words: Sequence[str]) -> tuple[int, str]:
    """The script to its end: its exit code, and what it said on standard error."""
    if forked.AVAILABLE:
        code, _, said = forked.forks().run(words, os.environ, Path.cwd(), b"", _SECONDS, path)
        return code, said.decode()
    done = subprocess.run([sys.executable, path, *words], capture_output=True, text=True, timeout=_SECONDS)
    return done.returncode, done.stderr
