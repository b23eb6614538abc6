"""Who we are at a registry: the keys, API keys and logins that the settings, docker and podman name.

Only `signin` makes a key. What is broken of what docker and podman left is told once, and then as if it
were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.hints import next_step
from cli.job import identities
from cli.options import Invocation
from cli.render import visible
from cli.settings import Settings, environment
from registry.errors import DeniedError, InvalidError, Reason, RegistryError

if TYPE_CHECKING:
    from registry.auth.credentials import ApiKeyFile, Candidate, Credentials, StoredLogin
    from registry.auth.docker import DockerConfig
    from registry.auth.keys import PrivateKey
    from registry.auth.prefixes import Prefix
    from registry.wire.messages import Origin

_KEY_COMMENT = "made by ferry"


def credentials(invocation: Invocation) -> Credentials:
    """Everything that may say who we are, first that fits (CLI.md, "Settings").

    InvalidError for a secret that is set and empty, and for what a key that was named is instead of one.
    """
    from cli.settings import credentials as kept
    from cli.settings import logins
    from registry.auth.credentials import ApiKeyFile, Credentials
    from registry.auth.prefixes import origin_of
    from registry.auth.secrets import ApiKey

    settings = invocation.settings
    check_secrets(settings)
    note = _once(lambda text: invocation.terminal.note(f"ferry: {visible(text)}"))
    docker = tuple(logins.found(environment(), settings.home))
    for fault in (fault for config in docker for fault in config.faults):
        note(fault.message)
    stored = kept.logins(settings.config)
    jobs, jobless = identities(settings)
    _mask(invocation, docker, stored.values())
    return Credentials(
        key=_default_key(invocation),
        given=_given_key(invocation),
        api_keys={
            **{origin_of(host): ApiKeyFile(path) for host, path in settings.api_key_files.items()},
            **{origin_of(host): ApiKey(text) for host, text in settings.api_keys.items()},
        },
        keys=_named_by_settings(settings),
        logins=stored,
        docker=docker,
        jobs=jobs,
        jobless=jobless,
        run_helper=logins.ask_helper,
        note=note,
    )


def check_secrets(settings: Settings) -> None:
    """InvalidError for a secret that is set and empty."""
    if settings.empty_secret:
        raise InvalidError(
            f"{settings.empty_secret} is set, but empty: the secret that it should hold is missing",
            hint="a CI withholds secrets from forks and unprotected branches; unset it to do without",
        )


def _named_by_settings(settings: Settings) -> dict[Prefix, Path | ApiKeyFile]:
    """The files that the settings' tables name, each for its place.

    An API key is itself sent: in plain HTTP over a network only where the settings say so of that very host.
    """
    from registry.auth.credentials import ApiKeyFile, stored_for
    from registry.auth.prefixes import Prefix

    found: dict[Prefix, Path | ApiKeyFile] = {
        Prefix.parse(place): path for place, path in settings.account_keys.items()
    }
    for place, path in settings.account_api_keys.items():
        plain = settings.hosts.get(place.partition("/")[0], {}).get("plain_http")
        found[stored_for(f"http://{place}" if plain else place)] = ApiKeyFile(path)
    return found


def _mask(invocation: Invocation, docker: tuple[DockerConfig, ...], stored: Iterable[StoredLogin]) -> None:
    """Nothing of what we were told in confidence is shown, also where a peer repeats it."""
    from registry.auth.secrets import shown_as
    from registry.wire.masking import password_of

    settings = invocation.settings
    lines = [line.strip() for line in settings.key_text.splitlines() if not line.startswith("-")]
    known = (*stored, *(login for config in docker for login in config.logins.values()))
    logins = [text for login in known for text in shown_as(login)]
    proxies = map(password_of, (*settings.proxies.values(), str(settings.get("proxy", ""))))
    invocation.terminal.mask.keep(*lines, *settings.api_keys.values(), *logins, *proxies)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and where it is: a file, or None for the text in FERRY_KEY."""

    key: PrivateKey
    path: Path | None

    @property
    def where(self) -> str:
        """As a sentence names it."""
        return str(self.path) if self.path else "the text in FERRY_KEY"


def signing_key(invocation: Invocation, known: Credentials, origin: Origin, *, make: bool) -> SigningKey:
    """The key that signs for this person at `origin`; the default one is made if there is none and `make`.

    DeniedError without a key.
    """
    from registry.auth.keys import load_key

    key = known.signing_key(origin)
    if isinstance(key, Path):
        return SigningKey(load_key(key), key)
    if key is not None:
        text = invocation.settings.key_text
        return SigningKey(key, None if text else invocation.settings.key_file())
    path = invocation.settings.key_file()
    if make:
        return SigningKey(_made(path), path)
    raise DeniedError(
        f"asking {origin.netloc} who we are: there is no key at {path}",
        reason=Reason.NOT_SIGNED_IN,
        host=origin.netloc,
    )


def _made(path: Path) -> PrivateKey:
    import secrets

    from registry.auth.keys import SEED_BYTES, ensure_key

    return ensure_key(path, secrets.token_bytes(SEED_BYTES), _KEY_COMMENT)


def key_of_text(text: str) -> PrivateKey:
    """The key whose text FERRY_KEY holds. InvalidError: also for a path, or a variable's name."""
    from registry.auth.keys import PrivateKey

    try:
        return PrivateKey.parse(text, "the key in FERRY_KEY")
    except InvalidError:
        if text.strip().startswith("$"):
            hint = "a CI leaves a variable as it is written where it is not set, or is not for this branch"
            raise InvalidError("FERRY_KEY holds a variable's name, not its value", hint=hint) from None
        if text.strip().startswith(("/", "./", "~/")):
            hint = "FERRY_KEY_FILE names a file; FERRY_KEY holds the key's text"
            raise InvalidError("FERRY_KEY holds a path, not a key", hint=hint) from None
        raise


def _given_key(invocation: Invocation) -> PrivateKey | None:
    """The key that an option or the environment names for this run."""
    from registry.auth.keys import load_key

    settings = invocation.settings
    if settings.key_text:
        return key_of_text(settings.key_text)
    return load_key(settings.key_file()) if "key" in settings.options else None


def _default_key(invocation: Invocation) -> PrivateKey | None:
    """The key of this machine; none, and a line that says so, where the usual one cannot be read."""
    from registry.auth.keys import load_key

    settings = invocation.settings
    if settings.key_text or "key" in settings.options:
        return None
    named = bool(settings.get("key"))
    if not named and settings.home is None:
        return None
    path = settings.key_file()
    try:
        return load_key(path) if named or path.exists() else None
    except (RegistryError, OSError) as error:
        if named:
            raise
        why = f"{path}: {error.strerror}" if isinstance(error, OSError) else error.message
        step = "" if isinstance(error, OSError) else next_step(error)
        told = f"asking as nobody in particular: {why}{f' → {step}' if step else ''}"
        invocation.terminal.note(f"ferry: {visible(told)}")
        return None


def chosen(invocation: Invocation, candidate: Candidate) -> str:
    """Where the secret was named, as a person would look for it."""
    from registry.auth.credentials import Why

    settings = invocation.settings
    match candidate.why:
        case Why.GIVEN:
            named = "key" in settings.options
            return f"the key of this run: {settings.key_file() if named else 'the text in FERRY_KEY'}"
        case Why.API_KEY:
            variables = ("FERRY_API_KEY", "FERRY_API_KEY_FILE", "OLLAMA_API_KEY")
            held = [name for name in variables if environment().get(name)]
            return f"the API key of this run, in {' or '.join(held)}"
        case Why.OWN:
            return f'what settings.toml and credentials.toml say of "{candidate.place}"'
        case Why.DOCKER:
            return f"the login in {candidate.place}"
        case Why.JOB:
            return "the CI job's own identity"
    return f"this machine's own key, {settings.key_file()}"


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, once for each text."""
    said: set[str] = set()

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return say_once
