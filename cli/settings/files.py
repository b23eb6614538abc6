"""The files a person keeps their settings in: read with a ceiling, checked, wrong lines named."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli import values
from cli.settings.lines import Lines
from registry.disk.pipes import is_pipe, read_pipe
from registry.errors import InvalidError, StorageError
from registry.model.names import asked_host, split_scheme

_FILE_BYTES = 1024 * 1024
_LINE_OF_ERROR = re.compile(r"\(at line (\d+), column \d+\)$")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[\x20-\x7e\r\n]*?-----END CERTIFICATE-----")
_CHECK_CA = "check tls_ca, or --tls-ca"

# Everything that can be set, and what its value may be. The environment spells it FERRY_<NAME>.
KEYS: Mapping[str, values.Check] = {
    "registry": values.host,
    "models": values.path,
    "key": values.path,
    "format": values.choice("text", "json"),
    "progress": values.choice("auto", "bar", "plain", "json", "none"),
    "limit_rate": values.rate,
    "jobs": values.whole(1, values.MOST_JOBS),
    "give_up_after": values.seconds(1, 7 * 86400),
    "first_pause": values.seconds(0.01, 30),
    "stall": values.seconds(0.1, 3600),
    "floor": values.floor,
    "plain_http": values.flag,
    "tls_ca": values.path,
    "insecure_tls": values.flag,
    "proxy": values.proxy,
    "dry_run": values.flag,
    "quiet": values.flag,
    "verbose": values.flag,
    "debug": values.flag,
    "yes": values.flag,
    "realms": values.list_of(values.url),
    "data": values.path,
    "listen": values.text,
    "public_url": values.list_of(values.url),
    "anonymous": values.choice("none", "read", "write"),
    "tls_cert": values.path,
    "tls_key": values.path,
    "log_format": values.choice("text", "json"),
    "capability_days": values.whole(1, 365),
    "max_key_days": values.whole(1, 3650),
    "direct_upload": values.flag,
    "metrics_listen": values.text,
    "trusted_proxy": values.list_of(values.text),
    "proxy_header": values.text,
    "min_free": values.amount,
    "scrub": values.seconds(0, 100 * 365 * 86400),
}
# Who we are in a namespace; everything else is about the whole host.
NAMESPACE_KEYS: Mapping[str, values.Check] = {"key": KEYS["key"], "api_key_file": values.path}
HOST_KEYS: Mapping[str, values.Check] = {
    **{key: KEYS[key] for key in ("plain_http", "tls_ca", "insecure_tls", "proxy", "realms")},
    "client_cert": values.path,
    "client_key": values.path,
    **NAMESPACE_KEYS,
    "ci": values.flag,
}


def settings(folder: Path | None, home: Path | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The file's own keys and its hosts' keys, checked. InvalidError names file, line and key."""
    path = folder / "settings.toml" if folder else None
    raw = read(path, "the settings") if path else None
    return ({}, {}) if path is None or raw is None else _parse(path, raw, home)


def toml(path: Path, raw: bytes) -> tuple[str, dict[str, Any]]:
    """A TOML file's text, and what it says. InvalidError names file and line."""
    import tomllib  # here, as most people have no such file

    try:
        text = raw.decode("utf-8-sig")  # some editors put a mark in front
        return text, tomllib.loads(text)
    except UnicodeDecodeError:
        raise InvalidError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        found = _LINE_OF_ERROR.search(str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        why = _LINE_OF_ERROR.sub("", str(error)).replace("(at end of document)", "").strip()
        raise InvalidError(f"{path}:{line}: not TOML: {why}") from None


def _parse(path: Path, raw: bytes, home: Path | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    text, document = toml(path, raw)
    lines = Lines(text)
    tables = document.pop("host", {})
    own = _table(path, lines, document, KEYS, "", home)
    if not isinstance(tables, dict):
        raise InvalidError(f'{path}:{lines.of("host")}: host: must be a table, [host."name"]')
    hosts = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidError(f"{path}:{lines.of('host', name)}: host.{name}: must be a table")
        scheme, bare = split_scheme(name)
        host, slash, namespace = bare.partition("/")
        where = f"{path}:{lines.of('host', name)}: host.{name}"
        checked(values.host, f"{scheme}://{host}" if scheme else host, where, home)
        keys = NAMESPACE_KEYS if namespace else HOST_KEYS
        if "client_key" in table and "client_cert" not in table:
            raise InvalidError(f"{where}: client_key: means nothing without client_cert beside it")
        hosts[f"{asked_host(host.lower())}{slash}{namespace}"] = _table(path, lines, table, keys, name, home)
    return own, hosts


def _table(
    path: Path,
    lines: Lines,
    table: Mapping[str, object],
    keys: Mapping[str, values.Check],
    host: str,
    home: Path | None,
) -> dict[str, Any]:
    own = {}
    for key, value in table.items():
        line = lines.of(*(("host", host) if host else ()), key)
        where = f"{path}:{line}: {f'host.{host}.' if host else ''}{key}"
        if key not in keys:
            raise InvalidError(f"{where}: no such setting", hint=f"there are: {', '.join(keys)}")
        own[key] = checked(keys[key], value, where, home)
    return own


def checked(check: values.Check, value: object, where: str, home: Path | None) -> object:
    """The checked value; an error says `where` it stood."""
    try:
        return _expanded(check(value), home)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}", hint=error.hint) from None


def _expanded(value: object, home: Path | None) -> object:
    """A path with `~` in front, as a settings file may say it, in the person's home."""
    if isinstance(value, Path) and value.parts and value.parts[0] == "~" and home is not None:
        return home.joinpath(*value.parts[1:])
    return value


def certificates(path: Path) -> str:
    """The PEM text of a file of certificate authorities."""
    raw = read(path, "the certificate authority")
    if raw is None:
        raise InvalidError(f"{path}, for the certificate authority, is not there", hint=_CHECK_CA)
    found = _CERTIFICATE.findall(raw)  # what stands between them is for people, in any language
    if not found:
        raise InvalidError(f"{path} holds no certificate in PEM form", hint=_CHECK_CA)
    return b"\n".join(found).decode("ascii")


def _without_waiting(path: str, flags: int) -> int:
    """Opens a FIFO, too, when nobody writes to it yet."""
    return os.open(path, flags | os.O_NONBLOCK)


def read(path: Path, what: str) -> bytes | None:
    """The whole of a small file or pipe, or None if there is none.

    StorageError; InvalidError if it is too long, or nothing comes out of a pipe.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if is_pipe(file.fileno()):
                raw = read_pipe(file.fileno(), _FILE_BYTES + 1, str(path))
            else:
                raw = file.read(_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "make it readable for this user, or move it away"
        raise StorageError(f"reading {what} in {path}: {error.strerror}", hint=hint) from None
    if len(raw) > _FILE_BYTES:
        raise InvalidError(f"{path}: longer than the {_FILE_BYTES} bytes that {what} may have")
    return raw


def check_summary(path: str | None, *, json: bool) -> None:
    """Before anything is done: InvalidError where the summary has no place.

    Neither has it on standard output, where a run's one JSON document goes.
    """
    if path and not (directory := Path(path).absolute().parent).is_dir():
        raise InvalidError(f"--summary {path}: there is no directory {directory}", hint="make it first")
    if not path or not json:
        return
    try:
        there, out = Path(path).stat(), os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # a file that is not there yet; an output that is no file
        return
    if os.path.samestat(there, out) and (sys.stdout.isatty() or not stat.S_ISCHR(out.st_mode)):
        raise InvalidError(
            f"--summary {path} is standard output, where the JSON document goes", hint="name another file"
        )


def write_summary(path: Path, text: str) -> None:
    """Add `text` to a file for people, as CI jobs collect them ($GITHUB_STEP_SUMMARY). StorageError.

    It may be standard output: behind what was said there.
    """
    with contextlib.suppress(OSError):  # told at the end of the run
        sys.stdout.flush()
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"writing the summary to {path}: {error.strerror}") from None
