"""Where `ferry demo` runs: a directory, a registry in a process of its own, people with homes of their own.

Everything is done by running ferry itself, with the words a person would type; what it answers is checked.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.settings import environment
from cli.signals import Signals
from registry.errors import RegistryError

_START_SECONDS = 20
_RUN_SECONDS = 60
_STOP_SECONDS = 10
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
_SET_UP = "set-up: "
_READY = "ferry serve: ready on http://"


class StepError(RegistryError):
    """A step did not do what it says."""


@dataclass(slots=True)
class Sandbox:
    """The demo's directory and what runs in it; `typed` is what was typed since it was last emptied."""

    keep: bool
    signals: Signals
    folder: Path = Path()
    host: str = ""
    set_up: str = ""  # the one-time link that makes the first account
    typed: list[str] = field(default_factory=list)
    _server: subprocess.Popen[str] | None = None
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def make_directory(self) -> None:
        """Make the directory it runs in."""
        with self._lock:
            self._go_on()
            self.folder = Path(tempfile.mkdtemp(prefix="ferry-demo-"))

    def close(self) -> None:
        """End whatever still runs, and remove the directory; from any thread, and nothing starts after it."""
        with self._lock:
            if self._closed or self.folder == Path():
                return
            self._closed = True
            self.stop()
            for process in self._running:  # it must be gone, not only told to go
                process.kill()
                process.wait()
            if not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    def home(self, person: str) -> Path:
        """A person's home directory."""
        return self.folder / person

    def models(self, person: str) -> Path:
        """A person's own Ollama store."""
        return self.home(person) / ".ollama" / "models"

    def name(self, model: str) -> str:
        """A model's full name at the demo's registry."""
        return f"{self.host}/{model}"

    def ferry(self, person: str, *words: str, ends: int = 0, **environ: str) -> Any:
        """What `ferry WORDS --format json` answers to `person`, the last line of what says more than once.

        StepError unless it ends with `ends`.
        """
        given = "".join(f"{name}=… " for name in environ)
        self.typed.append(f"{person}$ {given}{shlex.join(['ferry', *words])}")
        process = self._start(person, *words, "--format", "json", stderr=subprocess.PIPE, **environ)
        return self._answer(process, words[0], ends)

    def signin(self, person: str, approve: Callable[[str, str], None]) -> Any:
        """The last line of `ferry signin`; `approve` gets the page and the code while it waits."""
        words = ("signin", self.host)
        self.typed.append(f"{person}$ {shlex.join(['ferry', *words])}")
        process = self._start(person, *words, "--format", "json", stderr=subprocess.PIPE)
        assert process.stdout is not None
        watchdog = threading.Timer(_START_SECONDS, process.kill)
        watchdog.start()
        try:
            opened = json.loads(process.stdout.readline() or "{}")
            if opened.get("state") == "open":
                approve(opened["url"], opened["code"])
        finally:
            watchdog.cancel()
        return self._answer(process, words[0], 0)

    def _answer(self, process: subprocess.Popen[str], command: str, ends: int) -> Any:
        """The document that it ends with."""
        out, err = process.communicate(timeout=_RUN_SECONDS)
        self._go_on()
        if process.returncode != ends:
            said = (out + err).strip()[-2000:]
            raise StepError(f"ferry {command} ended with {process.returncode}, not {ends}: {said}")
        return json.loads(out.splitlines()[-1] if out.startswith('{"') else out)

    def serve(self) -> None:
        """Start the registry on a free port of this machine, and wait until it says that it is ready."""
        words = ["serve", "--data", "registry", "--listen", self.host or "127.0.0.1:0"]
        self._server = self._start("host", *words, stderr=subprocess.DEVNULL)
        watchdog = threading.Timer(_START_SECONDS, self._server.kill)
        watchdog.start()
        try:
            assert self._server.stdout is not None
            ready = self._server.stdout.readline()
            self.set_up = self._server.stdout.readline().removeprefix(_SET_UP).strip()
        finally:
            watchdog.cancel()
        self._go_on()
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

    def _start(self, person: str, *words: str, stderr: int, **environ: str) -> subprocess.Popen[str]:
        with self._lock:
            self._go_on()
            process = subprocess.Popen(
                [*_FERRY, *words],
                cwd=self.folder,
                env={**self._environment(person), **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",  # as it writes where nothing says otherwise
                errors="replace",
            )
            self._running.append(process)
        return process

    def _go_on(self) -> None:
        """KeyboardInterrupt once a signal arrived or the sandbox was closed."""
        if self._closed or self.signals.arrived is not None:
            raise KeyboardInterrupt

    def _environment(self, person: str) -> dict[str, str]:
        """An environment with nothing of the person who runs the demo: not their key, store or settings."""
        kept = {key: value for key, value in environment().items() if key in _INHERITED}
        here = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (here, environment().get("PYTHONPATH"))))
        return {**kept, "HOME": str(self.home(person)), "PYTHONPATH": path}


_FERRY = (sys.executable, "-m", "cli")
