"""What a plain install leaves out, and the embedded registry and the local gateway need."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from registry.errors import InvalidError

_SERVER = ("aiohttp", "sqlalchemy", "jwt", "jinja2")


def need_server(doing: str, libraries: Sequence[str] = _SERVER) -> None:
    """InvalidError, saying what to install, where the libraries of what serves are missing."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise InvalidError(
            f"{doing} needs the libraries of Ferry's servers, and {', '.join(missing)} is not installed",
            hint="in a checkout of Ferry: pipx install -f '.[server]' (or pip, in its own environment)",
        )
