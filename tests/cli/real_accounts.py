"""A real `ferry serve` with accounts, as `PretendAccounts` is one: what a test may do behind its back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from house import House
from pretend_accounts import Credential, PretendAccounts

from registry.auth.account import AccountClient, Document
from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey, PublicKey
from registry.connect import HostSettings, Registries
from registry.wire.messages import Origin


@dataclass
class RealAccounts:
    """Accounts of one test at the registry `house`: `ada` and `ben` are what they are called there."""

    house: House
    ada: str
    ben: str

    @property
    def host(self) -> str:
        return self.house.host

    def __post_init__(self) -> None:
        self._keys = {name: PrivateKey(os.urandom(32)) for name in (self.ada, self.ben)}
        for name, key in self._keys.items():
            self.house("user", "add", name).well()
            self._add(key.public, name)

    def approve(self, key: PublicKey, user: str) -> Credential:
        """Its administrator makes the key known."""
        self._add(key, user)
        rows = self._asked(user, lambda api: api.credentials())
        row = next(row for row in rows if row["shown"] == key.fingerprint and row["state"] == "active")
        return Credential(str(row["id"]), user, "machine", public=key.text)

    def make_api_key(self, user: str, scopes: list[str] | None = None, note: str = "") -> Credential:
        made = self._asked(user, lambda api: [api.create(note, scopes or [], None)])[0]
        return Credential(str(made["id"]), user, "api", secret=str(made["secret"]))

    def revoked(self, credential: Credential) -> bool:
        """Whether it is dead."""
        rows = self._asked(credential.user, lambda api: api.credentials())
        return all(row["state"] != "active" for row in rows if row["id"] == credential.id)

    def _add(self, key: PublicKey, user: str) -> None:
        words = ("key", "add", user, "-", "--data", self.house.data)
        self.house.admin("admin", *words, stdin=key.line).well()

    def _asked(self, user: str, ask: Callable[[AccountClient], list[Document]]) -> list[Document]:
        """What the account API answers to another machine of that user."""
        origin = Origin.of(f"http://{self.host}")
        opened = Registries(lambda _host: HostSettings(), Credentials(key=self._keys[user]))
        try:
            return ask(AccountClient(opened.session(origin), origin, time.time))
        finally:
            opened.close()


AnyAccounts: TypeAlias = PretendAccounts | RealAccounts
