"""What this run was told: options, environment, settings file, defaults, in this order (CLI.md).

The only room that reads the environment and the settings file. What comes out is one frozen value.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import values
from cli.settings import files
from cli.settings.files import KEYS
from registry.errors import InvalidError
from registry.model.names import DEFAULT_HOST, Name, asked_host, split_scheme

SERVICE_STORE = Path("/usr/share/ollama/.ollama/models")  # where Ollama's Linux service keeps models

# Spelled otherwise in the environment: OLLAMA_MODELS is the store, FERRY_KEY the key's text.
_VARIABLE = {"models": "OLLAMA_MODELS", "key": "FERRY_KEY_FILE"}
_OPTION = {"realms": "--realm"}
# How CI systems tell a job who it is; FERRY_REGISTRY is the registry that its identity is for.
_OF_JOBS = (
    *("FERRY_REGISTRY", "FERRY_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    *("GITHUB_ACTIONS", "FORGEJO_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI"),
)


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How one host is reached. `proxy` may hold a password."""

    plain_http: bool = False
    tls_ca: Path | None = None
    insecure_tls: bool = False
    https: bool = False  # something was said of its certificate, so HTTPS is meant, also on the loopback
    proxy: str = field(default="", repr=False)
    realms: tuple[str, ...] = ()
    client_cert: Path | None = None  # what we show this host alone, where it asks who is there (mutual TLS)
    client_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings. `chosen` holds every key of KEYS that was set anywhere, checked."""

    chosen: Mapping[str, Any]
    hosts: Mapping[str, Mapping[str, Any]]
    options: frozenset[str] = frozenset()  # the keys that an option or the environment set
    home: Path | None = None
    state: Path | None = None  # what survives between runs besides the store
    serve_data: Path | None = None  # the embedded registry's data unless told otherwise
    service_store: Path = SERVICE_STORE
    said_proxies: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)  # see `proxies`
    no_proxy: tuple[str, ...] = ()
    no_colour: bool = False
    key_text: str = field(default="", repr=False)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)  # by host, maybe with its scheme
    api_key_files: Mapping[str, Path] = field(default_factory=dict)  # the same, where a file holds it
    config: Path | None = None  # where the settings and the logins are
    empty_secret: str = ""  # the variable of a secret that is set to nothing
    said_by: Mapping[str, str] = field(
        default_factory=dict
    )  # the option, variable or file of each of `chosen`
    job: Mapping[str, str] = field(default_factory=dict, repr=False)  # what a CI system tells its job

    def get(self, key: str, default: Any = None) -> Any:
        """What was set for a key of KEYS, or `default`."""
        return self.chosen.get(key, default)

    def on(self, key: str) -> bool:
        """Whether a yes-or-no key is set."""
        return bool(self.chosen.get(key))

    @property
    def json(self) -> bool:
        """Whether standard output is one JSON document."""
        return bool(self.get("format") == "json")

    @property
    def registry(self) -> str:
        """The host of a name without one; may carry a scheme."""
        return str(self.get("registry", DEFAULT_HOST))

    def name(self, text: str) -> Name:
        """The model name that `text` spells here."""
        return Name.parse(text, self.registry)

    def place(self, host: str) -> HostOptions:
        """How `host` is reached: options and environment over its own table over the file's head."""
        own_table = self.hosts.get(asked_host(split_scheme(host)[1].lower()), {})
        own = dict(own_table)
        for key in ("plain_http", "tls_ca", "insecure_tls", "proxy"):
            if key in self.chosen and (key in self.options or key not in own):
                own[key] = self.chosen[key]
        for about_us in ("key", "api_key_file", "ci"):
            own.pop(about_us, None)
        own["realms"] = (*own.get("realms", ()), *self.get("realms", ()))
        said = {
            key
            for key in ("tls_ca", "insecure_tls", "client_cert")
            if key in self.options or key in own_table
        }
        return HostOptions(**own, https=any(own.get(key) for key in said))

    @property
    def account_keys(self) -> Mapping[str, Path]:
        """The key files that tables of hosts, or of namespaces there, name: by `HOST[/NAMESPACE]`."""
        return {place: table["key"] for place, table in self.hosts.items() if "key" in table}

    @property
    def account_api_keys(self) -> Mapping[str, Path]:
        """The files with an API key that the same tables name."""
        return {
            place: table["api_key_file"] for place, table in self.hosts.items() if "api_key_file" in table
        }

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy's URL for each scheme, maybe with a password. InvalidError names the variable."""
        return {
            scheme: str(files.checked(values.proxy, text, variable, None))
            for scheme, (variable, text) in self.said_proxies.items()
        }

    def models(self) -> tuple[Path, str]:
        """The local store's directory, and a sentence for the person if that needs one."""
        if self.get("models"):
            return Path(self.get("models")), ""
        service = self.service_store
        note = ""
        if sys.platform == "linux" and _exists(service):
            if os.access(service, os.W_OK | os.X_OK):
                return service, ""
            note = f"Ollama's service keeps its models in {service}, which this user may not write; "
        home = self._home("a place for models", "say --models DIR or set OLLAMA_MODELS")
        own = home / ".ollama" / "models"
        return own, f"{note}using {own}" if note else ""

    def key_file(self) -> Path:
        """Where the key is, when its text was not given."""
        if self.get("key"):
            return Path(self.get("key"))
        home = self._home("a key", "say --key FILE, or put the key's text into FERRY_KEY")
        return home / ".ollama" / "id_ed25519"

    def _home(self, what: str, hint: str) -> Path:
        if self.home is None:
            raise InvalidError(f"looking for {what}: this user has no home directory", hint=hint)
        return self.home


def resolve(given: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """The settings of a run whose options are `given` (None: not said). InvalidError says where."""
    home = _home_of(environ)
    config = _base(environ, "XDG_CONFIG_HOME", home, ".config")
    file, hosts = files.settings(config, home)
    chosen = dict(file)
    said_by = dict.fromkeys(file, str(config / "settings.toml") if config else "")
    said = set()
    for key, check in KEYS.items():
        option = _OPTION.get(key, f"--{key.replace('_', '-')}")
        variable = _VARIABLE.get(key, f"FERRY_{key.upper()}")
        if given.get(key) not in (None, False, ()):
            chosen[key] = files.checked(check, given[key], option, home)
            said_by[key] = option
        elif environ.get(variable, "").strip():
            chosen[key] = files.checked(check, environ[variable], variable, home)
            said_by[key] = variable
        else:
            continue
        said.add(key)
    return Settings(
        chosen=chosen,
        hosts=hosts,
        options=frozenset(said),
        home=home,
        state=_base(environ, "XDG_STATE_HOME", home, ".local/state"),
        serve_data=_below(_base(environ, "XDG_DATA_HOME", home, ".local/share"), "serve"),
        said_proxies=_proxies(environ),
        no_proxy=tuple(_either(environ, "NO_PROXY").replace(",", " ").split()),
        no_colour=bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb",
        key_text="" if given.get("key") else environ.get("FERRY_KEY", "").strip(),
        api_keys=_api_keys(environ),
        api_key_files=_api_key_files(environ),
        config=config,
        empty_secret=_empty_secret(given, environ),
        said_by=said_by,
        job={name: environ[name].strip() for name in _OF_JOBS if environ.get(name, "").strip()},
    )


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ


def _exists(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _home_of(environ: Mapping[str, str]) -> Path | None:
    """The home directory: HOME, else the user database, else none (an arbitrary user in a container)."""
    named = environ.get("HOME", "")
    if not named.startswith("/"):
        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            named = ""
    return Path(named) if named.startswith("/") else None


def _base(environ: Mapping[str, str], variable: str, home: Path | None, default: str) -> Path | None:
    """Ferry's directory below an XDG base directory; relative ones are ignored, as XDG says."""
    named = environ.get(variable, "")
    base = Path(named) if named.startswith("/") else home / default if home else None
    return _below(base, "ferry")


def _below(base: Path | None, name: str) -> Path | None:
    return base / name if base else None


def _proxies(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The variable that names the proxy for each scheme, and what it says, where there is one."""
    found: dict[str, tuple[str, str]] = {}
    for scheme in ("http", "https"):
        for variable in (f"{scheme.upper()}_PROXY", "ALL_PROXY"):
            for spelled in (variable.lower(), variable):  # the lower one first, as curl reads them
                if text := environ.get(spelled):
                    found.setdefault(scheme, (spelled, text))
    return found


def _either(environ: Mapping[str, str], name: str) -> str:
    """A variable in lower or upper case, the lower one first, as curl reads them."""
    return environ.get(name.lower()) or environ.get(name) or ""


def _api_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """FERRY_API_KEY belongs to FERRY_REGISTRY and to no other host; OLLAMA_API_KEY to ollama.com."""
    keys = {}
    if text := environ.get("OLLAMA_API_KEY", "").strip():
        keys["https://ollama.com"] = text
    if text := environ.get("FERRY_API_KEY", "").strip():
        keys[_whom_for("FERRY_API_KEY", environ)] = text
    return keys


def _api_key_files(environ: Mapping[str, str]) -> dict[str, Path]:
    """FERRY_API_KEY_FILE names a file that holds what FERRY_API_KEY would."""
    path = environ.get("FERRY_API_KEY_FILE", "").strip()
    return {_whom_for("FERRY_API_KEY_FILE", environ): Path(path)} if path else {}


def _whom_for(variable: str, environ: Mapping[str, str]) -> str:
    registry = environ.get("FERRY_REGISTRY", "").strip()
    if not registry:
        raise InvalidError(
            f"{variable} is set but FERRY_REGISTRY is not, so it is not known whom the key is for",
            hint="set FERRY_REGISTRY to the host the API key belongs to",
        )
    return registry.rstrip("/").lower()


def _empty_secret(given: Mapping[str, object], environ: Mapping[str, str]) -> str:
    """The variable that should say who we are and holds nothing: a CI's secret that is missing."""
    api_keys = ("FERRY_API_KEY", "FERRY_API_KEY_FILE", "FERRY_ID_TOKEN")
    asked = api_keys if given.get("key") else ("FERRY_KEY", "FERRY_KEY_FILE", *api_keys)
    return next((name for name in asked if name in environ and not environ[name].strip()), "")
