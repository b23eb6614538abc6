"""The CI job that this run is part of, and the registries that it may say so to.

Its identity goes to FERRY_REGISTRY, and where the settings of a host say `ci = true`; to no other registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cli.settings import Settings
from registry.errors import InvalidError

if TYPE_CHECKING:
    from registry.auth.ci import JobIdentity
    from registry.wire.messages import Origin

# By the variable that says so, the system's name and what its job lacks without an ID token. Forgejo's and
# Gitea's runners say that they are GitHub's too.
_SYSTEMS = {
    "FORGEJO_ACTIONS": ("Forgejo Actions", "enable-openid-connect: true"),
    "GITEA_ACTIONS": ("Gitea Actions", "permissions: id-token: write"),
    "GITHUB_ACTIONS": ("GitHub Actions", "permissions: id-token: write"),
    "GITLAB_CI": ("GitLab", "id_tokens: FERRY_ID_TOKEN: aud: {origin}"),
}


def identities(settings: Settings) -> tuple[Mapping[Origin, JobIdentity], Mapping[Origin, str]]:
    """The job's identity by the registry that it is for; and, where it has none, why. InvalidError."""
    variable = next((name for name in _SYSTEMS if name in settings.job), "")
    if not variable and "FERRY_ID_TOKEN" not in settings.job:
        return {}, {}
    system, lacking = _SYSTEMS.get(variable, ("CI", ""))
    found, missing = {}, {}
    in_clear = _in_clear(settings)
    for origin in _registries(settings):
        identity = None if in_clear else _identity(settings, system, origin)
        if in_clear:
            asking = f"which would ask {in_clear} for it in clear; HTTPS would do"
            missing[origin] = f"the identity of this {system} job, {asking}"
        elif identity is not None:
            found[origin] = identity
        else:
            wanted = lacking.format(origin=origin)
            missing[origin] = f"the identity of this {system} job, whose workflow does not say '{wanted}'"
    return found, missing


def _in_clear(settings: Settings) -> str:
    """Where the job's secret would be read on its way to an ID token; "" where not, or without one."""
    from registry.auth.ci import sends_in_clear
    from registry.wire.messages import Origin

    url = settings.job.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    if not url or settings.job.get("FERRY_ID_TOKEN"):
        return ""
    try:
        provider = Origin.of(url)
    except InvalidError as error:
        raise InvalidError(f"ACTIONS_ID_TOKEN_REQUEST_URL: {error.message}") from None
    return str(provider) if sends_in_clear(provider) else ""


def _identity(settings: Settings, system: str, origin: Origin) -> JobIdentity | None:
    from registry.auth.ci import JobIdentity, KeptInFile

    given = settings.job.get("FERRY_ID_TOKEN", "")
    if given:
        if settings.state is None:
            return JobIdentity(system, id_token=given)
        kept = KeptInFile(settings.state / "ci", given, origin)
        return JobIdentity(system, id_token=given, kept=kept)
    url, token = (settings.job.get(f"ACTIONS_ID_TOKEN_REQUEST_{what}", "") for what in ("URL", "TOKEN"))
    return JobIdentity(system, url, token) if url and token else None


def _registries(settings: Settings) -> Iterator[Origin]:
    """Each in the way it is reached: what is sent to one is secret."""
    from registry.auth.prefixes import origin_of

    if named := settings.job.get("FERRY_REGISTRY", ""):
        yield origin_of(named.rstrip("/").lower())
    for host, table in settings.hosts.items():
        if table.get("ci") and "/" not in host:
            yield origin_of(f"http://{host}" if table.get("plain_http") else host)
