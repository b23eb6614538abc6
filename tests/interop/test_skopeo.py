"""skopeo copies OCI artifacts through Ferry's registry; of Ollama's manifests it reads the raw bytes.

skopeo 1.9 refuses to copy Docker manifests with layer types it does not know, so only `inspect --raw` is
asked of it there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from handmade import digest_of, make_model, shelve
from peers import Registry, Tool

ARTIFACT = "application/vnd.example.weights"


@pytest.fixture
def artifact(far_end: Registry, oras: Tool, tmp_path: Path) -> bytes:
    """An OCI artifact at the far end as `skopeo/artifact:v1`; its manifest's bytes."""
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 1000)
    name = f"{far_end.host}/skopeo/artifact:v1"
    layer = "weights.bin:application/octet-stream"
    oras("push", "--plain-http", "--artifact-type", ARTIFACT, name, layer)
    return oras("manifest", "fetch", "--plain-http", name).out


def raw(skopeo: Tool, name: str) -> bytes:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").out


def copy(skopeo: Tool, source: str, destination: str) -> None:
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", source, destination)


def test_an_artifact_copied_to_and_fro_keeps_its_digest(
    far_end: Registry, lab_registry: Registry, skopeo: Tool, artifact: bytes
) -> None:
    there = f"{lab_registry.host}/skopeo/copy:v1"
    back = f"{far_end.host}/skopeo/back:v1"

    copy(skopeo, f"docker://{far_end.host}/skopeo/artifact:v1", f"docker://{there}")
    copy(skopeo, f"docker://{there}", f"docker://{back}")

    assert raw(skopeo, there) == raw(skopeo, back) == artifact
    layer = json.loads(artifact)["layers"][0]["digest"]
    assert digest_of(lab_registry.call("GET", f"/v2/skopeo/copy/blobs/{layer}").body) == layer


def test_tags_that_skopeo_lists_are_those_that_were_pushed(
    lab_registry: Registry, far_end: Registry, skopeo: Tool, artifact: bytes
) -> None:
    assert artifact
    repository = f"{lab_registry.host}/skopeo/listed-{far_end.host.rpartition(':')[2]}"
    for tag in ("b", "a"):
        copy(skopeo, f"docker://{far_end.host}/skopeo/artifact:v1", f"docker://{repository}:{tag}")

    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{repository}").out)

    assert listed["Tags"] == ["a", "b"]


def test_a_model_that_ferry_pushed_is_read_raw(far_end: Registry, ferry: Tool, skopeo: Tool) -> None:
    model = make_model(21)
    shelve(Path(ferry.env["HOME"]), model, "library/tiny/latest")

    ferry("push", "tiny", f"{far_end.host}/skopeo/model:v1")

    assert raw(skopeo, f"{far_end.host}/skopeo/model:v1") == model.manifest
