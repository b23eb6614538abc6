"""Where docker and Podman keep what they know of registries, and how their helpers are asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.helpers import run
from cli.settings import files
from registry.auth.docker import DockerConfig, DockerLogin, Fault
from registry.errors import RegistryError
from registry.wire.messages import Origin

_VARIABLE = "DOCKER_AUTH_CONFIG"


def found(environ: Mapping[str, str], home: Path | None) -> Iterator[DockerConfig]:
    """What there is, first that counts: the environment's own text, docker's file, Podman's files."""
    if environ.get(_VARIABLE):
        yield DockerConfig.parse(environ[_VARIABLE], _VARIABLE)
    for path in dict.fromkeys(_paths(environ, home)):
        try:
            raw = files.read(path, "the logins")
        except RegistryError as error:
            yield DockerConfig(str(path), faults=(Fault(None, error.message),))
            continue
        if raw is not None:
            yield DockerConfig.parse(raw.decode("utf-8", "replace"), str(path))


def _paths(environ: Mapping[str, str], home: Path | None) -> Iterator[Path]:
    """Each file that docker, or Podman, would look into."""
    if environ.get("DOCKER_CONFIG"):
        yield Path(environ["DOCKER_CONFIG"]) / "config.json"
    elif home:
        yield home / ".docker" / "config.json"
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        if environ.get(variable):
            yield Path(environ[variable]) / "containers" / "auth.json"
    if home:
        yield home / ".config" / "containers" / "auth.json"


def helper_for(environ: Mapping[str, str], home: Path | None, origin: Origin) -> DockerLogin | None:
    """The helper that is set up to keep the logins of `origin`, if there is one."""
    known = (config.find(origin, "") for config in found(environ, home))
    return next((login for login in known if login and login.helper), None)


def ask_helper(program: str, host: str) -> str | None:
    """What `docker-credential-… get` says of a host (JSON), or None if it knows nothing.

    InvalidError if it cannot be run, does not end, or fails.
    """
    return run(program, "get", host)


def tell_helper(program: str, verb: str, text: str) -> None:
    """`docker-credential-… store` (a JSON document of ServerURL, Username, Secret) or `erase` (a host).

    InvalidError as `ask_helper`.
    """
    run(program, verb, text)
