"""Runs a program that ends, as if by SIGKILL, at its COUNT-th step towards making something durable or named.

    python exiting.py COUNT SCRIPT|-m MODULE ARGUMENTS…

With COUNT 0 it runs to its end, and writes to standard error how many such steps there were.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registry.disk import system as calls

CODE = 137


class Exiting(calls.System):
    """The system, until the end."""

    def __init__(self, last: int) -> None:
        self.steps = 0
        self._last = last
        self._lock = threading.Lock()

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)
        self._step()

    def link(self, old: Path, new: Path) -> None:
        self._step()
        super().link(old, new)
        self._step()

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)
        self._step()

    def sync(self, handle: int) -> None:
        self._step()
        super().sync(handle)

    def sync_data(self, handle: int) -> None:
        self._step()
        super().sync_data(handle)

    def truncate(self, handle: int, size: int) -> None:
        self._step()
        super().truncate(handle, size)

    def _step(self) -> None:
        with self._lock:
            self.steps += 1
            if self.steps == self._last:
                os._exit(CODE)


def main(count: str, what: str, *arguments: str) -> None:
    system = Exiting(int(count))
    calls.system = system
    try:
        if what == "-m":
            sys.argv = list(arguments)
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [what, *arguments]
            sys.path.insert(0, str(Path(what).parent))
            runpy.run_path(what, run_name="__main__")
    finally:
        print(system.steps, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
