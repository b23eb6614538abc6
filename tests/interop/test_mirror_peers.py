"""Mirrors of many between the registries people run; what crane, oras and regctl read there, and wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from goods import Model, put
from peers import Registry, Tool, find

from registry.auth.credentials import Credentials
from registry.connect import Connections, HostSettings
from registry.model.names import Name


@pytest.fixture
def regctl(tmp_path: Path, docker_registry: Registry, registry_v3: Registry) -> Tool:
    """regctl, told that these two speak plain HTTP."""
    tool = Tool((find("regctl"),), {"HOME": str(tmp_path)})
    for registry in (docker_registry, registry_v3):
        tool("registry", "set", "--tls", "disabled", registry.host)
    return tool


def push(registry: Registry, text: str, seed: int) -> str:
    """A model there; its manifest's digest."""
    model, name = Model.random(seed, 200_000, 10), Name.parse(f"{registry.host}/{text}")
    connections = Connections(lambda _: HostSettings(), Credentials())
    put(connections.remote(name), name, model)
    connections.close()
    return str(model.manifest.digest)


def test_a_namespace_goes_through_three_kinds_of_registries_digest_for_digest(
    docker_registry: Registry, registry_v3: Registry, lab_registry: Registry, ferry: Tool, crane: Tool
) -> None:
    digests = {
        f"{model}:{tag}": push(docker_registry, f"ring/{model}:{tag}", at)
        for at, (model, tag) in enumerate([("a", "v1"), ("a", "v2"), ("b", "v1")], 41)
    }

    ferry("mirror", f"{docker_registry.host}/ring", f"{registry_v3.host}/ring")
    ferry("mirror", f"{registry_v3.host}/ring", f"{lab_registry.host}/ring")
    ferry("mirror", f"{lab_registry.host}/ring", f"{docker_registry.host}/round")

    for registry, namespace in ((registry_v3, "ring"), (lab_registry, "ring"), (docker_registry, "round")):
        for name, digest in digests.items():
            assert crane("digest", f"{registry.host}/{namespace}/{name}").text.strip() == digest


def test_what_oras_attached_goes_along_to_registries_without_a_list_and_with_one(
    docker_registry: Registry,
    registry_v3: Registry,
    lab_registry: Registry,
    ferry: Tool,
    oras: Tool,
    tmp_path: Path,
) -> None:
    push(docker_registry, "signed/tiny:v1", 51)
    (tmp_path / "sbom.json").write_text('{"what":"is in it"}')
    attach = ("attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom")
    attached = oras(*attach, f"{docker_registry.host}/signed/tiny:v1", "sbom.json:application/json")
    assert attached.code == 0

    for registry in (registry_v3, lab_registry):
        ferry("mirror", f"{docker_registry.host}/signed/tiny:v1", f"{registry.host}/signed/tiny")
    ferry("mirror", f"{lab_registry.host}/signed/tiny", f"{registry_v3.host}/onwards/tiny", "--tags", "v*")

    for name in (f"{registry_v3.host}/signed", f"{lab_registry.host}/signed", f"{registry_v3.host}/onwards"):
        found = oras("discover", "--plain-http", "--format", "json", f"{name}/tiny:v1")
        kinds = [each["artifactType"] for each in json.loads(found.out)["referrers"]]
        assert kinds == ["application/vnd.example.sbom"], found.text


def test_an_index_that_regctl_made_goes_along_and_regctl_reads_it(
    docker_registry: Registry, registry_v3: Registry, ferry: Tool, regctl: Tool
) -> None:
    for at, tag in enumerate(("one", "two"), 61):
        push(docker_registry, f"index/tiny:{tag}", at)
    name = f"{docker_registry.host}/index/tiny"
    refs = [word for tag in ("one", "two") for word in ("--ref", f"{name}:{tag}")]
    regctl("index", "create", f"{name}:both", *refs)

    ferry("mirror", name, f"{registry_v3.host}/index/tiny", "--tags", "both")

    there = f"{registry_v3.host}/index/tiny:both"
    assert regctl("manifest", "head", there).text == regctl("manifest", "head", f"{name}:both").text
    assert (
        regctl("manifest", "get", there, "--format", "raw-body").out
        == regctl("manifest", "get", f"{name}:both", "--format", "raw-body").out
    )
