"""Whether Ollama's cloud models are switched off on this machine, as an Ollama server reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cli.settings.files import read

_VARIABLE = "OLLAMA_NO_CLOUD"
_OFF = frozenset({"0", "f", "false"})  # what Go's ParseBool takes for no; everything else counts as yes
_KEY = "disable_ollama_cloud"


def switched_off(environ: Mapping[str, str], home: Path | None) -> tuple[str, str]:
    """By what cloud models are switched off, "" for by nothing, and Ollama's word for it.

    InvalidError where the file cannot be read: what somebody forbade is not done by mistake.
    """
    text = environ.get(_VARIABLE, "").strip().lower()
    by_environment = bool(text) and text not in _OFF
    path = home / ".ollama" / "server.json" if home else None
    by_file = path is not None and _says_so(path)
    if by_environment:
        return f"{_VARIABLE} in the environment", "both" if by_file else "env"
    return (f"{_KEY} in {path}", "config") if by_file else ("", "none")


def _says_so(path: Path) -> bool:
    raw = read(path, "what an Ollama server may do")
    if raw is None:
        return False
    try:
        settings = json.loads(raw)
    except ValueError:
        return False  # an Ollama server passes over such a file too
    return isinstance(settings, dict) and settings.get(_KEY) is True
