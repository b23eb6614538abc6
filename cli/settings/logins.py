"""Where docker and Podman keep what they know of registries, and how their helpers are asked."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from cli.settings import files
from registry.errors import InvalidError

_HELPER_SECONDS = 30
_ANSWER_BYTES = 64 * 1024


def texts(environ: Mapping[str, str], home: Path | None) -> list[tuple[str, str]]:
    """The configuration files that exist, as (path, text), docker's first."""
    found = []
    for path in _paths(environ, home):
        raw = files.read(path, "the logins")
        if raw is not None:
            found.append((str(path), raw.decode("utf-8", "replace")))
    return found


def _paths(environ: Mapping[str, str], home: Path | None) -> list[Path]:
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home and home / ".docker"
    paths = [docker / "config.json"] if docker else []
    if environ.get("REGISTRY_AUTH_FILE"):
        paths.append(Path(environ["REGISTRY_AUTH_FILE"]))
    elif environ.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    return paths


def ask_helper(program: str, host: str) -> str | None:
    """What `docker-credential-… get` says of a host (JSON), or None if it knows nothing."""
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = "did not answer" if isinstance(error, subprocess.TimeoutExpired) else "cannot be run"
        raise InvalidError(
            f"{program}, which docker's configuration names, {why}", hint="install it, or remove it there"
        ) from None
    return done.stdout[:_ANSWER_BYTES].decode("utf-8", "replace") if done.returncode == 0 else None
