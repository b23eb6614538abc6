"""Ferry as its users meet it: a process with arguments, an environment, two outputs and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import forked

ROOT = Path(__file__).resolve().parents[2]
FERRY = (sys.executable, "-m", "cli")
INTERPRETERS = ("PYTHON", "LC_", "LANG")  # variables that Python itself reads as it starts


def quick() -> Sequence[str]:
    """Ferry as a program that begins at once: it is forked, where that can be done."""
    return forked.forks().program if forked.AVAILABLE else FERRY


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as exactly one JSON document."""
        return json.loads(self.out)

    def well(self) -> Done:
        """Itself, if it ended with 0."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


def _text(output: bytes) -> str:
    return output.decode().replace("\r\n", "\n")


@dataclass(frozen=True)
class Ferry:
    """Runs ferry in a home of its own, with nothing else in its environment."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        return self.home / ".ollama" / "models"

    def env(self, **more: str | None) -> dict[str, str]:
        base = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.environ}
        return {key: value for key, value in {**base, **more}.items() if value is not None}

    def __call__(self, *words: str | Path, seconds: float = 60, stdin: str = "", **env: str | None) -> Done:
        """One run to its end. TimeoutExpired after `seconds`.

        What an interpreter makes of its own variables is seen only by one that starts.
        """
        told, all_env = [*map(str, words)], self.env(**env)
        if forked.AVAILABLE and not any(name.startswith(INTERPRETERS) for name in env):
            code, out, err = forked.forks().run(told, all_env, self.home, stdin.encode(), seconds)
            return Done(code, _text(out), _text(err))
        done = subprocess.run(
            [*FERRY, *told],
            env=all_env,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(
        self,
        *words: str | Path,
        stderr: IO[str] | int = subprocess.PIPE,
        program: Sequence[str] = FERRY,
        **env: str | None,
    ) -> subprocess.Popen[str]:
        """A run that goes on. `program=quick()` is for one that is told by signals but SIGKILL to end."""
        return subprocess.Popen(
            [*program, *map(str, words)],
            env=self.env(**env),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def begin(self, *words: str | Path, stderr: IO[str]) -> forked.Running | subprocess.Popen[str]:
        """A run that goes on, where it does not matter how it starts; its standard output is a pipe."""
        if forked.AVAILABLE:
            return forked.forks().begin([*map(str, words)], self.env(), self.home, None, stderr)
        return self.start(*words, stderr=stderr)

    def settings(self, text: str) -> Path:
        """Write the person's settings file."""
        path = self.home / ".config" / "ferry" / "settings.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
