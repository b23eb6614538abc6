"""Ferry against real registries: Debian's docker-registry, CNCF's registry v3, and its own."""

from __future__ import annotations

import json
from pathlib import Path

from handmade import MANIFEST, fetch, make_model, shelve, unshelve
from peers import Registry, Tool, ferry_tool


def home_of(tool: Tool) -> Path:
    return Path(tool.env["HOME"])


def test_a_model_goes_there_and_comes_back_byte_for_byte(
    far_end: Registry, ferry: Tool, tmp_path: Path
) -> None:
    model = make_model(1)
    shelve(home_of(ferry), model, "library/tiny/latest")
    name = f"{far_end.host}/round/trip:v1"
    other = ferry_tool(tmp_path / "other")

    ferry("push", "tiny", name)
    other("pull", name)

    assert fetch(far_end, "round/trip", "v1") == model
    assert unshelve(home_of(other), far_end.host, "round/trip/v1") == model


def test_the_json_of_a_push_says_what_moved_and_the_second_push_moves_nothing(
    far_end: Registry, ferry: Tool
) -> None:
    model = make_model(2)
    shelve(home_of(ferry), model, "library/tiny/latest")
    name = f"{far_end.host}/again/tiny:v1"

    first = json.loads(ferry("push", "tiny", name, "--format", "json").out)
    second = json.loads(ferry("push", "tiny", name, "--format", "json").out)

    assert (first["digest"], first["size"], first["transferred"]) == (model.digest, model.size, model.size)
    assert {blob["digest"] for blob in first["blobs"]} == set(model.blobs)
    assert second["transferred"] == 0
    assert {blob["how"] for blob in second["blobs"]} == {"present"}


def test_tags_are_listed_with_what_they_stand_for(far_end: Registry, ferry: Tool) -> None:
    models = {"v1": make_model(3), "v2": make_model(4), "latest": make_model(4)}
    for tag, model in models.items():
        shelve(home_of(ferry), model, f"library/tiny/{tag}")
        ferry("push", f"tiny:{tag}", f"{far_end.host}/listed/tiny:{tag}")

    listed = json.loads(ferry("tags", f"{far_end.host}/listed/tiny", "--format", "json").out)

    told = [(row["tag"], row["digest"]) for row in listed]
    assert told == [(tag, models[tag].digest) for tag in ("latest", "v1", "v2")]


def test_a_listing_of_the_registry_names_what_was_pushed(far_end: Registry, ferry: Tool) -> None:
    model = make_model(5)
    shelve(home_of(ferry), model, "library/tiny/latest")
    ferry("push", "tiny", f"{far_end.host}/shown/here:v1")

    listed = json.loads(ferry("list", f"{far_end.host}/shown", "--format", "json").out)

    assert [(row["name"], row["digest"]) for row in listed] == [
        (f"{far_end.host}/shown/here:v1", model.digest)
    ]


def test_a_removed_name_is_gone_and_another_model_of_the_repository_stays(
    far_end: Registry, ferry: Tool
) -> None:
    for tag, seed in (("v1", 6), ("v2", 7)):
        shelve(home_of(ferry), make_model(seed), f"library/tiny/{tag}")
        ferry("push", f"tiny:{tag}", f"{far_end.host}/gone/tiny:{tag}")

    ferry("rm", "--remote", "--yes", f"{far_end.host}/gone/tiny:v1")

    gone = ferry.run("pull", f"{far_end.host}/gone/tiny:v1")
    assert gone.code == 3, gone.err
    headers = {"Accept": MANIFEST}
    assert far_end.call("GET", "/v2/gone/tiny/manifests/v1", headers=headers).status == 404
    assert fetch(far_end, "gone/tiny", "v2") == make_model(7)


def test_what_goes_with_a_removed_tag_is_named_where_it_cannot_go_alone(
    far_end: Registry, ferry: Tool
) -> None:
    shelve(home_of(ferry), make_model(9), "library/tiny/latest")
    repository = f"{far_end.host}/twice/tiny"
    for tag in ("v1", "same"):
        ferry("push", "tiny", f"{repository}:{tag}")

    done = ferry.run("rm", "--remote", "--yes", f"{repository}:v1", "--format", "json")

    assert done.code == 0, done.err
    alone = far_end.kind != "docker-registry"
    assert json.loads(done.out)["tags"] == (["v1"] if alone else ["same", "v1"])
    assert ("deletes by digest: same goes with" in done.err) == (not alone)
    left = far_end.call("GET", "/v2/twice/tiny/manifests/same", headers={"Accept": MANIFEST})
    assert left.status == (200 if alone else 404)


def test_a_model_of_the_registry_is_shown_without_being_pulled(far_end: Registry, ferry: Tool) -> None:
    model = make_model(8)
    shelve(home_of(ferry), model, "library/tiny/latest")
    name = f"{far_end.host}/show/tiny:v1"
    ferry("push", "tiny", name)

    raw = ferry("show", "--remote", "--manifest", name)
    shown = json.loads(ferry("show", "--remote", name, "--format", "json").out)

    assert raw.out.strip() == model.manifest.strip()
    assert shown["digest"] == model.digest
    assert [layer["digest"] for layer in shown["layers"]] == [
        layer["digest"] for layer in json.loads(model.manifest)["layers"]
    ]


def test_a_name_that_is_not_there_is_exit_3_with_one_sentence(far_end: Registry, ferry: Tool) -> None:
    done = ferry.run("pull", f"{far_end.host}/nobody/nothing:v1")

    assert done.code == 3, done.err
    assert "nobody/nothing" in done.err
    assert "Traceback" not in done.err
