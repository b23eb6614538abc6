"""`credentials.toml`, what `ferry login` keeps: beside the settings, for its owner only."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.auth.credentials import StoredLogin, parse_logins
from registry.auth.prefixes import Prefix
from registry.auth.secrets import ApiKey, IdentityToken, Login
from registry.disk import files
from registry.disk.secrets import read_secret
from registry.errors import InvalidError, StorageError

NAME = "credentials.toml"
_FILE_BYTES = 1024 * 1024
_HEAD = "# Written by ferry login and ferry logout. Everybody who can read this file can do what you can.\n"


def logins(folder: Path | None) -> Mapping[Prefix, StoredLogin]:
    """The logins that are kept in `folder`.

    InvalidError names file, and line or key; DeniedError if others may read it.
    """
    path = folder / NAME if folder else None
    return parse_logins(_document(path), str(path)) if path else {}


def keep(folder: Path, place: str, login: StoredLogin) -> Path:
    """Keep `login` for `place`, HOST or HOST/NAMESPACE, maybe with a scheme; the file it is in.

    A process that reads it meanwhile reads the old one or the new one. StorageError, InvalidError.
    """
    with _changing(folder) as hosts:
        hosts[place] = _table(login)
    return folder / NAME


def forget(folder: Path, place: str) -> bool:
    """Forget the login for `place`; whether there was one."""
    if not _document(folder / NAME):
        return False
    with _changing(folder) as hosts:
        return hosts.pop(place, None) is not None


def _document(path: Path) -> Mapping[str, object]:
    raw = read_secret(path, _FILE_BYTES)
    if raw is None:
        return {}
    import tomllib  # here, as most people have no such file

    try:
        return tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidError(
            f"{path} is not TOML: {why}", hint="mend it, or move it away and log in again"
        ) from None


@contextmanager
def _changing(folder: Path) -> Iterator[dict[str, Mapping[str, str]]]:
    """The file's tables of hosts, written back at the end; of several processes, one after another."""
    path = folder / NAME
    files.make_directory(folder, mode=0o700)
    with _only_one(folder):
        document = _document(path)
        parse_logins(document, str(path))  # what cannot be read is not written over
        known = document.get("host", {})
        hosts: dict[str, Mapping[str, str]] = dict(known) if isinstance(known, dict) else {}
        yield hosts
        files.write_atomic(path, _text(hosts).encode(), scratch=folder, mode=0o600)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    try:
        with (folder / f".{NAME}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StorageError(f"writing {folder / NAME}: {error.strerror}") from None


def _table(login: StoredLogin) -> Mapping[str, str]:
    match login:
        case Login(user=user, password=password):
            return {"user": user, "password": password}
        case ApiKey(text=text):
            return {"api_key": text}
        case IdentityToken(text=text):
            return {"identity_token": text}


def _text(hosts: Mapping[str, Mapping[str, str]]) -> str:
    """The file's text: JSON's strings of printable characters are TOML's."""
    tables = (
        "".join(
            (f"\n[host.{_quoted(place)}]\n", *(f"{key} = {_quoted(text)}\n" for key, text in table.items()))
        )
        for place, table in sorted(hosts.items())
    )
    return _HEAD + "".join(tables)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
