"""Where a host's registry is asked."""

from __future__ import annotations

import pytest

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io"])
def test_dockers_hub_is_one_place(host: str) -> None:
    connections = Registries(lambda _: HostSettings(), Credentials())

    assert str(connections.origin(Name.parse(f"{host}/acme/tiny:1"))) == "https://registry-1.docker.io"
