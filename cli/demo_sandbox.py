"""Where `ferry demo` runs: a directory, a registry in a process of its own, people with homes of their own.

Everything is done by running ferry itself, with the words a person would type; what it answers is checked.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.settings import environment
from registry.errors import RegistryError

_START_SECONDS = 20
_RUN_SECONDS = 60
_STOP_SECONDS = 10
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
_READY = "ferry serve: ready on http://"


class StepError(RegistryError):
    """A step did not do what it says."""


@dataclass(slots=True)
class Sandbox:
    """The demo's directory and what runs in it; `typed` is what was typed since it was last emptied."""

    folder: Path
    host: str = ""
    typed: list[str] = field(default_factory=list)
    _server: subprocess.Popen[str] | None = None

    def home(self, person: str) -> Path:
        """A person's home directory."""
        return self.folder / person

    def models(self, person: str) -> Path:
        """A person's own Ollama store."""
        return self.home(person) / ".ollama" / "models"

    def name(self, model: str) -> str:
        """A model's full name at the demo's registry."""
        return f"{self.host}/{model}"

    def ferry(self, person: str, *words: str, ends: int = 0) -> Any:
        """What `ferry WORDS --format json` answers to `person`; StepError unless it ends with `ends`."""
        self.typed.append(f"{person}$ {shlex.join(['ferry', *words])}")
        process = subprocess.Popen(
            [*_FERRY, *words, "--format", "json"],
            cwd=self.folder,
            env=self._environment(person),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",  # as it writes where nothing says otherwise
            errors="replace",
        )
        with process:
            try:
                out, err = process.communicate(timeout=_RUN_SECONDS)
            except BaseException:  # it must be gone, not only told to go, before its directory is removed
                process.kill()
                process.wait()
                raise
        if process.returncode != ends:
            said = (out + err).strip()[-2000:]
            raise StepError(f"ferry {words[0]} ended with {process.returncode}, not {ends}: {said}")
        return json.loads(out)

    def serve(self) -> None:
        """Start the registry on a free port of this machine, and wait until it says that it is ready."""
        words = ["serve", "--data", "registry", "--listen", self.host or "127.0.0.1:0"]
        self._server = subprocess.Popen(
            [*_FERRY, *words],
            cwd=self.folder,
            env=self._environment("host"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        watchdog = threading.Timer(_START_SECONDS, self._server.kill)
        watchdog.start()
        try:
            assert self._server.stdout is not None
            ready = self._server.stdout.readline()
        finally:
            watchdog.cancel()
        if not ready.startswith(_READY):
            raise StepError(f"the registry did not start: {ready.strip() or 'it said nothing'}")
        self.host = ready.removeprefix(_READY).split()[0].rstrip("/")
        self.typed.append(f"host$ {shlex.join(['ferry', *words[:-1], self.host])} &")

    def stop(self) -> int | None:
        """End the registry as a service manager would; its exit code."""
        if self._server is None:
            return None
        self._server.terminate()
        try:
            return self._server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            return self._server.wait()
        finally:
            if self._server.stdout is not None:
                self._server.stdout.close()
            self._server = None

    def _environment(self, person: str) -> dict[str, str]:
        """An environment with nothing of the person who runs the demo: not their key, store or settings."""
        kept = {key: value for key, value in environment().items() if key in _INHERITED}
        here = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (here, environment().get("PYTHONPATH"))))
        return {**kept, "HOME": str(self.home(person)), "PYTHONPATH": path}


_FERRY = (sys.executable, "-m", "cli")
