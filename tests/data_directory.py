"""A data directory to administer before anything is served from it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from registry.errors import InvalidError
from registry.server.directory import note_url
from registry.server.issuers import Issuer
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.registry import Registry


def prepared(data: Path) -> Path:
    """The directory as `ferry serve` leaves it that nobody has asked anything."""
    Registry.prepare(data).close()
    note_url(data, "http://127.0.0.1:5050")
    return data


def with_api_key(data: Path, id: str = "", user: str = "ada", scope: str = "*:pull") -> str:
    """The secret of an API key that `user`, who has an account there, has been given."""
    registry = Registry.open(data)
    keys = replace(registry.api_keys, new_id=lambda: id) if id else registry.api_keys
    made = keys.create(registry.accounts.user(user), parse_scopes([scope]), note="nightly builds")
    registry.close()
    return made.secret


def with_publisher(data: Path, id: str) -> None:
    """A trusted publisher of that identifier, of acme/tiny, and one of an issuer of the company's own."""
    registry = Registry.open(data)
    publishers = replace(registry.publishers, new_id=lambda: id)
    publishers.add("acme/tiny", Issuer("https://gitlab.com"), {"project_id": "74"})
    registry.publishers.add("acme/big", Issuer("https://ci.corp"), {"sub": "ml"}, new_issuer=True)
    registry.close()


def with_a_team(data: Path, *, taken: bool = True) -> None:
    """Ada's account, and where the names are `taken` the organisation acme and its service account ci."""
    registry = Registry.open(data)
    with suppress(InvalidError):
        registry.accounts.add_user("ada")
    if taken:
        registry.organisations.add("acme")
        registry.services.add("acme/ci", Right.READ)
    registry.close()
