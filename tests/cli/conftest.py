"""A person with an empty home, who runs ferry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import House
from person import Ferry
from pretend_accounts import Credential, PretendAccounts

from registry.auth.keys import ensure_key


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    home = tmp_path / "home"
    home.mkdir()
    return Ferry(home)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ferry]:
    """People on one machine, each with a home that lasts as long as the tests."""
    homes = tmp_path_factory.mktemp("homes")

    def person(name: str) -> Ferry:
        (homes / name).mkdir(exist_ok=True)
        return Ferry(homes / name)

    return person


@pytest.fixture(scope="session")
def house(people: Callable[[str], Ferry]) -> Iterator[House]:
    """A registry in which ada and ben have accounts."""
    opened = House(people("host")).open()
    try:
        for name in ("ada", "ben"):
            opened.welcome(people(name), name)
        yield opened
    finally:
        code = opened.close()
    assert code == 0


@pytest.fixture
def accounts() -> Iterator[PretendAccounts]:
    """A pretended registry with accounts."""
    with PretendAccounts() as made:
        yield made


@pytest.fixture
def machine(ferry: Ferry, accounts: PretendAccounts) -> Credential:
    """The person's key, approved there as ada's."""
    key = ensure_key(ferry.home / ".ollama" / "id_ed25519", os.urandom(32))
    return accounts.approve(key.public, "ada")
