"""What a plain install leaves out and the embedded registry needs."""

from __future__ import annotations

from importlib.util import find_spec

from registry.errors import InvalidError

_SERVER = ("aiohttp", "sqlalchemy", "jwt", "jinja2")


def need_server(doing: str) -> None:
    """InvalidError, saying what to install, where the embedded registry's libraries are missing."""
    missing = [name for name in _SERVER if find_spec(name) is None]
    if missing:
        raise InvalidError(
            f"{doing} needs the embedded registry's libraries, and {', '.join(missing)} is not installed",
            hint="in a checkout of Ferry: pipx install -f '.[server]' (or pip, in its own environment)",
        )
