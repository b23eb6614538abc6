"""Mirrors of many between the registries people run; what crane, oras and regctl read there, and wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import Done, Registry, Tool, cncf_registry, find
from sample_models import Model, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name


@pytest.fixture
def regctl(tmp_path: Path, docker_registry: Registry, registry_v3: Registry) -> Tool:
    """regctl, told that these two speak plain HTTP."""
    hosts = {each.host: {"tls": "disabled"} for each in (docker_registry, registry_v3)}
    (tmp_path / ".regctl").mkdir()
    (tmp_path / ".regctl" / "config.json").write_text(json.dumps({"hosts": hosts}))
    return Tool((find("regctl"),), {"HOME": str(tmp_path)})


@pytest.fixture(scope="module")
def connections() -> Iterator[Registries]:
    opened = Registries(lambda _: HostSettings(), Credentials())
    yield opened
    opened.close()


def push(connections: Registries, text: str, seed: int) -> str:
    """A model there; its manifest's digest."""
    model, name = Model.random(seed, 200_000, 10), Name.parse(text)
    put(connections.remote(name), name, model)
    return str(model.manifest.digest)


def held(connections: Registries, text: str) -> str:
    """The digest of what is there, read whole."""
    name = Name.parse(text)
    return str(connections.remote(name).resolve(name).digest)


def test_a_namespace_goes_through_three_kinds_of_registries_with_what_oras_attached(
    docker_registry: Registry,
    registry_v3: Registry,
    lab_registry: Registry,
    connections: Registries,
    ferry: Tool,
    crane: Tool,
    oras: Tool,
    tmp_path: Path,
) -> None:
    """Digest for digest; two of the three keep no list of referrers."""
    names = (("a", "v1"), ("a", "v2"), ("b", "v1"))
    digests = {
        f"{model}:{tag}": push(connections, f"{docker_registry.host}/ring/{model}:{tag}", at)
        for at, (model, tag) in enumerate(names, 41)
    }
    (tmp_path / "sbom.json").write_text('{"what":"is in it"}')
    attach = ("attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom")
    assert oras(*attach, f"{docker_registry.host}/ring/b:v1", "sbom.json:application/json").code == 0

    ferry("mirror", f"{docker_registry.host}/ring", f"{registry_v3.host}/ring")
    ferry("mirror", f"{registry_v3.host}/ring", f"{lab_registry.host}/ring")
    ferry("mirror", f"{lab_registry.host}/ring", f"{docker_registry.host}/round")

    for registry, namespace in ((registry_v3, "ring"), (lab_registry, "ring"), (docker_registry, "round")):
        there = f"{registry.host}/{namespace}"
        assert {name: held(connections, f"{there}/{name}") for name in digests} == digests
        assert crane("digest", f"{there}/b:v1").text.strip() == digests["b:v1"]
        found = oras("discover", "--plain-http", "--format", "json", f"{there}/b:v1")
        kinds = [each["artifactType"] for each in json.loads(found.out)["referrers"]]
        assert kinds == ["application/vnd.example.sbom"], found.text


def requests(done: Done, host: str) -> list[str]:
    """The methods of the requests to a registry that `--debug` told."""
    lines = [line.split() for line in done.err.splitlines() if line.startswith("> ") and host in line]
    return [line[1] for line in lines]


def test_a_second_mirror_between_two_debian_registries_writes_nothing(
    docker_registry: Registry, connections: Registries, ferry: Tool, tmp_path: Path
) -> None:
    digests = {
        tag: push(connections, f"{docker_registry.host}/debian/tiny:{tag}", at)
        for at, tag in enumerate(("v1", "v2", "v10", "latest"), 81)
    }
    with cncf_registry("docker-registry", tmp_path) as other:
        source, there = f"{docker_registry.host}/debian/tiny", f"{other.host}/kept/tiny"
        ferry("mirror", source, there, "--tags", "*")
        found = {tag: held(connections, f"{there}:{tag}") for tag in digests}
        again = ferry("mirror", source, there, "--tags", "*", "--debug")

        assert found == digests
        assert "0 copied, 4 present, 0 failed; 0 B moved" in again.text
        for registry in (docker_registry, other):
            asked = requests(again, registry.host)
            assert set(asked) == {"GET", "HEAD"}
            assert len(asked) <= len(digests) + 10


def test_what_oras_attaches_later_to_an_unchanged_image_goes_along_from_v3(
    docker_registry: Registry,
    registry_v3: Registry,
    connections: Registries,
    ferry: Tool,
    oras: Tool,
    tmp_path: Path,
) -> None:
    source, there = f"{registry_v3.host}/late/tiny", f"{docker_registry.host}/late/tiny"
    push(connections, f"{source}:v1", 91)
    ferry("mirror", source, there, "--tags", "*")
    (tmp_path / "sbom.json").write_text('{"what":"is in it"}')
    attach = ("attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom")
    assert oras(*attach, f"{source}:v1", "sbom.json:application/json").code == 0

    ferry("mirror", source, there, "--tags", "*")
    again = ferry("mirror", source, there, "--tags", "*", "--debug")

    found = oras("discover", "--plain-http", "--format", "json", f"{there}:v1")
    kinds = [each["artifactType"] for each in json.loads(found.out)["referrers"]]
    assert kinds == ["application/vnd.example.sbom"], found.text
    for registry in (registry_v3, docker_registry):
        asked = requests(again, registry.host)
        assert set(asked) == {"GET", "HEAD"}
        assert len(asked) <= 2 + 3  # two tags; the list, and what shows that it keeps no referrers


def test_an_index_that_regctl_made_goes_along_and_regctl_reads_it(
    docker_registry: Registry, registry_v3: Registry, connections: Registries, ferry: Tool, regctl: Tool
) -> None:
    for at, tag in enumerate(("one", "two"), 61):
        push(connections, f"{docker_registry.host}/index/tiny:{tag}", at)
    name = f"{docker_registry.host}/index/tiny"
    refs = [word for tag in ("one", "two") for word in ("--ref", f"{name}:{tag}")]
    regctl("index", "create", f"{name}:both", *refs)

    ferry("mirror", name, f"{registry_v3.host}/index/tiny", "--tags", "both")

    there = f"{registry_v3.host}/index/tiny:both"
    assert (
        regctl("manifest", "get", there, "--format", "raw-body").out
        == regctl("manifest", "get", f"{name}:both", "--format", "raw-body").out
    )
