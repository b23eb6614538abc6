"""crane and oras read and copy what Ferry pushed, and Ferry reads what they wrote, digest for digest."""

from __future__ import annotations

import json
from pathlib import Path

from handmade import MANIFEST, Model, fetch, make_model, shelve, unshelve
from peers import Registry, Tool


def pushed(ferry: Tool, registry: Registry, repository: str, seed: int) -> Model:
    """A model that `ferry push` put there as tag v1."""
    model = make_model(seed)
    shelve(Path(ferry.env["HOME"]), model, "library/tiny/latest")
    ferry("push", "tiny", f"{registry.host}/{repository}:v1")
    return model


def test_crane_reads_what_ferry_pushed(far_end: Registry, ferry: Tool, crane: Tool) -> None:
    model = pushed(ferry, far_end, "crane/reads", 11)
    name = f"{far_end.host}/crane/reads"

    assert crane("manifest", f"{name}:v1").out.rstrip(b"\n") == model.manifest
    assert crane("digest", f"{name}:v1").text.strip() == model.digest
    assert crane("ls", name).text.split() == ["v1"]
    for digest, data in model.blobs.items():
        assert crane("blob", f"{name}@{digest}").out == data


def test_ferry_pulls_what_crane_copied_to_another_registry(
    far_end: Registry, lab_registry: Registry, ferry: Tool, crane: Tool
) -> None:
    model = pushed(ferry, far_end, "crane/source", 12)

    crane("copy", f"{far_end.host}/crane/source:v1", f"{lab_registry.host}/copied/crane:v2")
    ferry("pull", f"{lab_registry.host}/copied/crane:v2")

    assert fetch(lab_registry, "copied/crane", "v2") == model
    assert unshelve(Path(ferry.env["HOME"]), lab_registry.host, "copied/crane/v2") == model


def test_ferry_pulls_what_crane_copied_from_ferrys_own_registry(
    far_end: Registry, lab_registry: Registry, ferry: Tool, crane: Tool
) -> None:
    model = pushed(ferry, lab_registry, "crane/outwards", 13)

    crane("copy", f"{lab_registry.host}/crane/outwards:v1", f"{far_end.host}/crane/inwards:v1")
    ferry("pull", f"{far_end.host}/crane/inwards:v1")

    assert unshelve(Path(ferry.env["HOME"]), far_end.host, "crane/inwards/v1") == model


def test_oras_reads_what_ferry_pushed(far_end: Registry, ferry: Tool, oras: Tool) -> None:
    model = pushed(ferry, far_end, "oras/reads", 14)
    name = f"{far_end.host}/oras/reads"

    assert oras("manifest", "fetch", "--plain-http", f"{name}:v1").out.rstrip(b"\n") == model.manifest
    assert oras("resolve", "--plain-http", f"{name}:v1").text.strip() == model.digest
    assert oras("repo", "tags", "--plain-http", name).text.split() == ["v1"]
    for digest, data in model.blobs.items():
        assert oras("blob", "fetch", "--plain-http", "--output", "-", f"{name}@{digest}").out == data


def test_oras_copies_what_ferry_pushed_into_a_layout_and_back(
    far_end: Registry, lab_registry: Registry, ferry: Tool, oras: Tool
) -> None:
    model = pushed(ferry, far_end, "oras/source", 15)
    there = f"{lab_registry.host}/copied/oras:v1"

    oras("copy", "--from-plain-http", "--to-oci-layout", f"{far_end.host}/oras/source:v1", "layout:v1")
    oras("copy", "--from-oci-layout", "--to-plain-http", "layout:v1", there)
    ferry("pull", there)

    assert fetch(lab_registry, "copied/oras", "v1") == model
    assert unshelve(Path(ferry.env["HOME"]), lab_registry.host, "copied/oras/v1") == model


def test_ferry_pulls_what_oras_wrote_piece_by_piece(
    far_end: Registry, ferry: Tool, oras: Tool, tmp_path: Path
) -> None:
    model = make_model(16)
    name = f"{far_end.host}/oras/wrote"
    for number, (digest, data) in enumerate(model.blobs.items()):
        (tmp_path / f"blob{number}").write_bytes(data)
        oras("blob", "push", "--plain-http", f"{name}@{digest}", f"blob{number}")
    (tmp_path / "manifest.json").write_bytes(model.manifest)
    oras("manifest", "push", "--plain-http", "--media-type", MANIFEST, f"{name}:v1", "manifest.json")

    ferry("pull", f"{name}:v1")
    tags = json.loads(ferry("tags", name, "--format", "json").out)

    assert unshelve(Path(ferry.env["HOME"]), far_end.host, "oras/wrote/v1") == model
    assert [(row["tag"], row["digest"]) for row in tags] == [("v1", model.digest)]


def test_an_artifact_that_oras_pushed_is_pulled_by_oras_unchanged(
    lab_registry: Registry, oras: Tool, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_bytes(b"about the model\n")
    (tmp_path / "out").mkdir()
    name = f"{lab_registry.host}/artifacts/notes:v1"
    kind = "application/vnd.example.notes"

    oras("push", "--plain-http", "--artifact-type", kind, name, "notes.txt:text/plain")
    oras("pull", "--plain-http", "--output", "out", name)

    assert (tmp_path / "out" / "notes.txt").read_bytes() == b"about the model\n"
    assert json.loads(oras("manifest", "fetch", "--plain-http", name).out)["artifactType"] == kind


def test_what_is_attached_to_a_model_is_found_by_oras(
    lab_registry: Registry, ferry: Tool, oras: Tool, tmp_path: Path
) -> None:
    pushed(ferry, lab_registry, "attached/to", 17)
    name = f"{lab_registry.host}/attached/to:v1"
    (tmp_path / "card.md").write_bytes(b"# card\n")
    kind = "application/vnd.example.card"

    oras("attach", "--plain-http", "--artifact-type", kind, name, "card.md:text/markdown")
    found = json.loads(oras("discover", "--plain-http", "--format", "json", name).out)

    listed = found.get("referrers") or found.get("manifests")
    assert [row["artifactType"] for row in listed] == [kind]
