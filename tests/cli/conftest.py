"""A person with an empty home, who runs ferry."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import House
from person import Ferry
from pretend_accounts import Credential, PretendAccounts
from real_accounts import AnyAccounts, RealAccounts

from registry.auth.keys import ensure_key

_numbers = itertools.count()


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


@pytest.fixture(scope="session")
def acme(house: House, people: Callable[[str], Ferry]) -> Ferry:
    """The owner of the namespace acme there."""
    owner = people("acme")
    house.welcome(owner, "acme")
    return owner


@pytest.fixture
def pretended() -> Iterator[PretendAccounts]:
    """A pretended registry with accounts."""
    with PretendAccounts() as made:
        yield made


@pytest.fixture(params=["pretended", "ferry serve"])
def accounts(request: pytest.FixtureRequest) -> AnyAccounts:
    """The same, and a real one: what holds of both is what was agreed."""
    if request.param == "pretended":
        made: PretendAccounts = request.getfixturevalue("pretended")
        return made
    number = next(_numbers)
    return RealAccounts(request.getfixturevalue("house"), f"ada{number}", f"ben{number}")


@pytest.fixture
def machine(ferry: Ferry, accounts: AnyAccounts) -> Credential:
    """The person's key, approved there as ada's."""
    key = ensure_key(ferry.home / ".ollama" / "id_ed25519", os.urandom(32))
    return accounts.approve(key.public, accounts.ada)
