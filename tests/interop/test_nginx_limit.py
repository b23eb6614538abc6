"""A registry behind an nginx that takes no body above its default of 1 MiB, and closes the connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import fetch, make_model, shelve
from peers import LOCATION, Front, Registry, Tool, tls_front


@pytest.fixture(scope="module")
def front(docker_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    location = LOCATION.format(upstream=docker_registry.host)
    place = tmp_path_factory.mktemp("nginx")
    limited = location.replace("client_max_body_size 0;", "client_max_body_size 1m;")
    with tls_front(place, docker_registry.host, limited) as door:
        yield door


def test_a_push_finds_the_size_that_passes_and_the_next_one_knows_it(
    front: Front, docker_registry: Registry, ferry: Tool
) -> None:
    first, second = make_model(41, weights=20_000_000), make_model(42, weights=20_000_000)
    home = Path(ferry.env["HOME"])
    shelve(home, first, "library/first/latest")
    shelve(home, second, "library/second/latest")

    found = ferry("push", "first", f"https://{front.host}/limit/first:1", "--tls-ca", front.ca, "--debug")
    known = ferry("push", "second", f"https://{front.host}/limit/second:1", "--tls-ca", front.ca, "--debug")

    assert fetch(docker_registry, "limit/first", "1") == first
    assert fetch(docker_registry, "limit/second", "1") == second
    assert 1 <= found.err.count("< 413") <= 4
    assert known.err.count("< 413") == 0
