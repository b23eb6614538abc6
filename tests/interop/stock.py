"""A computer with the stock ollama client on it, unchanged, and its daemon running."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from handmade import models_of
from peers import Tool, ferry_tool, find, free_port, http_call, running


@dataclass(frozen=True)
class Machine:
    """A computer with ollama on it: its home, its own key, its daemon, and Ferry for the same person."""

    home: Path
    ollama: Tool
    ferry: Tool

    @property
    def public_key(self) -> Path:
        return self.home / ".ollama" / "id_ed25519.pub"


@contextlib.contextmanager
def machine(home: Path) -> Iterator[Machine]:
    """Starts `ollama serve` in a home of its own; it makes itself a key."""
    path = find("ollama")
    home.mkdir(parents=True)
    host = f"127.0.0.1:{free_port()}"
    models = models_of(home)
    own = {"HOME": str(home), "OLLAMA_MODELS": str(models), "OLLAMA_HOST": host, "OLLAMA_NOPRUNE": "1"}
    url = f"http://{host}/api/version"
    log = home / "ollama.log"
    with running([path, "serve"], log, lambda: http_call("GET", url).status == 200, {**os.environ, **own}):
        yield Machine(home, Tool((path,), own), ferry_tool(home))
