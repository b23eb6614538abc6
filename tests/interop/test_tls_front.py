"""A registry behind a TLS front of its own certificate: trusted when told so, refused when not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import fetch, make_model, shelve, unshelve
from peers import Front, Registry, Tool, tls_front


@pytest.fixture(scope="module")
def front(docker_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with tls_front(tmp_path_factory.mktemp("nginx"), docker_registry.host) as door:
        yield door


def test_a_model_goes_through_a_private_certificate_and_back(
    front: Front, docker_registry: Registry, ferry: Tool
) -> None:
    model = make_model(31, weights=3_000_000)
    home = Path(ferry.env["HOME"])
    shelve(home, model, "library/tiny/latest")

    ferry("push", "tiny", f"https://{front.host}/tls/tiny:v1", "--tls-ca", front.ca)
    ferry("pull", f"https://{front.host}/tls/tiny:v1", "--tls-ca", front.ca)

    assert fetch(docker_registry, "tls/tiny", "v1") == model
    assert unshelve(home, front.host, "tls/tiny/v1") == model


def test_a_certificate_nobody_vouches_for_is_exit_4_and_nothing_is_sent(
    front: Front, docker_registry: Registry, ferry: Tool
) -> None:
    shelve(Path(ferry.env["HOME"]), make_model(32), "library/tiny/latest")

    done = ferry.run("push", "tiny", f"https://{front.host}/tls/unknown:v1")

    assert done.code == 4, done.err
    assert "certificate" in done.err.lower()
    assert docker_registry.call("GET", "/v2/tls/unknown/tags/list").status == 404


def test_an_unverified_certificate_is_taken_only_with_a_warning(front: Front, ferry: Tool) -> None:
    shelve(Path(ferry.env["HOME"]), make_model(33), "library/tiny/latest")

    done = ferry("push", "tiny", f"https://{front.host}/tls/insecure:v1", "--insecure-tls")

    assert f"certificate of {front.host} is not checked" in done.err
