"""What this run was told: options, environment, settings file, defaults, in this order (CLI.md).

The only room that reads the environment and the settings file. What comes out is one frozen value.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import values
from registry.errors import InvalidError, StorageError
from registry.model.names import DEFAULT_HOST, Name, split_scheme

SERVICE_STORE = Path("/usr/share/ollama/.ollama/models")  # where Ollama's Linux service keeps models
_FILE_BYTES = 1024 * 1024
_LINE_OF_ERROR = re.compile(r"\(at line (\d+), column \d+\)$")
_TABLE = re.compile(r'\s*\[\s*host\s*\.\s*(?:"([^"]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+))\s*\]')

# Everything that can be set, and what its value may be. The environment spells it FERRY_<NAME>.
KEYS: Mapping[str, values.Check] = {
    "registry": values.host,
    "models": values.path,
    "key": values.path,
    "format": values.choice("text", "json"),
    "progress": values.choice("auto", "bar", "plain", "json", "none"),
    "limit_rate": values.rate,
    "jobs": values.whole(1, values.MOST_JOBS),
    "plain_http": values.flag,
    "tls_ca": values.path,
    "insecure_tls": values.flag,
    "proxy": values.proxy,
    "dry_run": values.flag,
    "quiet": values.flag,
    "verbose": values.flag,
    "debug": values.flag,
    "yes": values.flag,
    "data": values.path,
    "listen": values.text,
    "public_url": values.many(values.url),
    "anonymous": values.choice("none", "read", "write"),
    "tls_cert": values.path,
    "tls_key": values.path,
    "log_format": values.choice("text", "json"),
    "capability_days": values.whole(1, 365),
}
HOST_KEYS: Mapping[str, values.Check] = {
    **{key: KEYS[key] for key in ("plain_http", "tls_ca", "insecure_tls", "proxy")},
    "realms": values.many(values.url),
}
# Spelled otherwise in the environment: OLLAMA_MODELS is the store, FERRY_KEY the key's text.
_VARIABLE = {"models": "OLLAMA_MODELS", "key": "FERRY_KEY_FILE"}


@dataclass(frozen=True, slots=True)
class Place:
    """How one host is reached. `proxy` may hold a password."""

    plain_http: bool = False
    tls_ca: Path | None = None
    insecure_tls: bool = False
    proxy: str = field(default="", repr=False)
    realms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings. `chosen` holds every key of KEYS that was set anywhere, checked."""

    chosen: Mapping[str, Any]
    hosts: Mapping[str, Mapping[str, Any]]
    options: frozenset[str] = frozenset()  # the keys that an option or the environment set
    home: Path | None = None
    state: Path | None = None  # what survives between runs besides the store
    served: Path | None = None  # the embedded registry's data unless told otherwise
    service_store: Path = SERVICE_STORE
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # by scheme; may hold a password
    no_proxy: tuple[str, ...] = ()
    no_colour: bool = False
    key_text: str = field(default="", repr=False)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)  # by host

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

    def place(self, host: str) -> Place:
        """How `host` is reached: options and environment over its own table over the file's head."""
        own = dict(self.hosts.get(split_scheme(host)[1].lower(), {}))
        for key in ("plain_http", "tls_ca", "insecure_tls", "proxy"):
            if key in self.chosen and (key in self.options or key not in own):
                own[key] = self.chosen[key]
        return Place(**own)

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
    file, hosts = _read(_base(environ, "XDG_CONFIG_HOME", home, ".config"), home)
    chosen = dict(file)
    said = set()
    for key, check in KEYS.items():
        option = f"--{key.replace('_', '-')}"
        variable = _VARIABLE.get(key, f"FERRY_{key.upper()}")
        if given.get(key) not in (None, False, ()):
            chosen[key] = _checked(check, given[key], option, home)
        elif environ.get(variable):
            chosen[key] = _checked(check, environ[variable], variable, home)
        else:
            continue
        said.add(key)
    return Settings(
        chosen=chosen,
        hosts=hosts,
        options=frozenset(said),
        home=home,
        state=_base(environ, "XDG_STATE_HOME", home, ".local/state"),
        served=_below(_base(environ, "XDG_DATA_HOME", home, ".local/share"), "serve"),
        proxies=_proxies(environ),
        no_proxy=tuple(_either(environ, "NO_PROXY").replace(",", " ").split()),
        no_colour=bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb",
        key_text="" if given.get("key") else environ.get("FERRY_KEY", ""),
        api_keys=_api_keys(environ),
    )


def certificates(path: Path) -> str:
    """The PEM text of a file of certificate authorities."""
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES)
    except OSError as error:
        raise InvalidError(
            f"reading the certificate authority in {path}: {error.strerror}", hint="check --tls-ca"
        ) from None
    if b"-----BEGIN CERTIFICATE-----" not in raw or not raw.isascii():
        raise InvalidError(f"{path} holds no certificate in PEM form", hint="check --tls-ca")
    return raw.decode()


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ


def _checked(check: values.Check, value: object, where: str, home: Path | None) -> object:
    try:
        return _expanded(check(value), home)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}", hint=error.hint) from None


def _expanded(value: object, home: Path | None) -> object:
    """A path with `~` in front, as a settings file may say it, in the person's home."""
    if isinstance(value, Path) and value.parts and value.parts[0] == "~" and home is not None:
        return home.joinpath(*value.parts[1:])
    return value


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


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy for each scheme, where there is one."""
    everywhere = _either(environ, "ALL_PROXY")
    said = {scheme: _either(environ, f"{scheme.upper()}_PROXY") or everywhere for scheme in ("http", "https")}
    return {scheme: url for scheme, url in said.items() if url}


def _either(environ: Mapping[str, str], name: str) -> str:
    """A variable in lower or upper case, the lower one first, as curl reads them."""
    return environ.get(name.lower()) or environ.get(name) or ""


def _api_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """FERRY_API_KEY belongs to FERRY_REGISTRY and to no other host; OLLAMA_API_KEY to ollama.com."""
    keys = {}
    if environ.get("OLLAMA_API_KEY"):
        keys["ollama.com"] = environ["OLLAMA_API_KEY"]
    if environ.get("FERRY_API_KEY"):
        if not environ.get("FERRY_REGISTRY"):
            raise InvalidError(
                "FERRY_API_KEY is set but FERRY_REGISTRY is not, so it is not known whom the key is for",
                hint="set FERRY_REGISTRY to the host the API key belongs to",
            )
        keys[split_scheme(environ["FERRY_REGISTRY"])[1].rstrip("/").lower()] = environ["FERRY_API_KEY"]
    return keys


# --- the settings file ---------------------------------------------------------------------------------


def _read(folder: Path | None, home: Path | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The file's own keys and its hosts' keys, checked. InvalidError names file, line and key."""
    path = _below(folder, "settings.toml")
    if path is None:
        return {}, {}
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}
    except OSError as error:
        hint = "make it readable for this user, or move it away"
        raise StorageError(f"reading the settings in {path}: {error.strerror}", hint=hint) from None
    if len(raw) > _FILE_BYTES:
        raise InvalidError(f"{path}: longer than the {_FILE_BYTES} bytes that settings may have")
    return _parse(path, raw, home)


def _parse(path: Path, raw: bytes, home: Path | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    try:
        text = raw.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        raise InvalidError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        found = _LINE_OF_ERROR.search(str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        why = _LINE_OF_ERROR.sub("", str(error)).replace("(at end of document)", "").strip()
        raise InvalidError(f"{path}:{line}: not TOML: {why}") from None
    tables = document.pop("host", {})
    own = _table(path, text, document, KEYS, "", home)
    if not isinstance(tables, dict):
        raise InvalidError(f'{path}:{_line(text, "", "host")}: host: must be a table, [host."name"]')
    hosts = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidError(f"{path}:{_line(text, '', 'host')}: host.{name}: must be a table")
        hosts[name.lower()] = _table(path, text, table, HOST_KEYS, name, home)
    return own, hosts


def _table(
    path: Path,
    text: str,
    table: Mapping[str, object],
    keys: Mapping[str, values.Check],
    host: str,
    home: Path | None,
) -> dict[str, Any]:
    checked = {}
    for key, value in table.items():
        where = f"{path}:{_line(text, host, key)}: {f'host.{host}.' if host else ''}{key}"
        if key not in keys:
            raise InvalidError(f"{where}: no such setting", hint=f"there are: {', '.join(keys)}")
        checked[key] = _checked(keys[key], value, where, home)
    return checked


def _line(text: str, host: str, key: str) -> int:
    """The line on which `key` of a host's table (or of the file's head, "") stands; 1 if unknown."""
    inside = ""
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]|\s*\[\s*{re.escape(key)}[\].]")
    for number, line in enumerate(text.splitlines(), 1):
        table = _TABLE.match(line)
        if table:
            inside = table[1] or table[2] or table[3]
        if inside == host and wanted.match(line):
            return number
    return 1
