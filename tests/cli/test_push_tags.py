"""`ferry push --also TAG` and `--if-absent` at real registries: one knows them, one does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from house import House
from peers import Registry
from person import Done, Ferry
from spy import Spy, reply
from stored_models import put_model

from registry.model.digests import Digest

People = Callable[[str], Ferry]


def states(told: dict[str, object]) -> list[tuple[str, str, object]]:
    """Name, what became of it, and the digest before of each tag of a push's document."""
    also = told["also"]
    assert isinstance(also, list)
    return [(each["name"].rpartition(":")[2], each["tag"], each["was"]) for each in also]


def test_a_push_under_several_tags_sends_the_bytes_once(
    house: House, docker_registry: Registry, people: People
) -> None:
    ada = people("ada")
    for host in (house.host, docker_registry.host):
        name = f"{host}/ada/several"
        put_model(ada.models, f"{host}/ada/several/1.0", b"GGUF first")
        one = ada("push", f"{name}:1.0", "--also", "latest", "--also", "1.0", "--format", "json").well().json
        assert (one["tag"], states(one)) == ("created", [("latest", "created", None)])
        put_model(ada.models, f"{host}/ada/several/1.1", b"GGUF second")
        words = ("push", f"{name}:1.1", "--also", "latest", "--also", "stable")
        dry = ada(*words, "--dry-run").well().out
        assert f"latest would move from {one['digest'][7:19]}, stable would be created" in dry
        two = ada(*words, "--format", "json").well().json
        assert len(b"GGUF second") <= two["transferred"] <= two["size"]
        assert states(two) == [("latest", "moved", one["digest"]), ("stable", "created", None)]
        tags = {each["tag"]: each["digest"] for each in ada("tags", name, "--format", "json").well().json}
        assert tags == {"1.0": one["digest"], **dict.fromkeys(("1.1", "latest", "stable"), two["digest"])}
        assert "tag unchanged, latest unchanged, stable unchanged" in ada(*words).well().out


def test_a_dry_run_is_refused_where_a_blob_is_not_here(house: House, people: People) -> None:
    ada, name = people("ada"), f"{house.host}/ada/partly:1"
    put_model(ada.models, f"{house.host}/ada/partly/1", b"GGUF partly")
    weights = Digest.of(b"GGUF partly")
    (ada.models / "blobs" / f"sha256-{weights.hex}").unlink()
    for done in (ada("push", name, "--dry-run"), ada("push", name)):
        assert done.code == 3, done
        assert f"blob {weights.short} of {name} is not in {ada.models}" in done.err


def test_of_several_tags_one_that_stays_refuses_all_before_a_byte(house: House, people: People) -> None:
    ada, name = people("ada"), f"{house.host}/ada/kept"
    put_model(ada.models, f"{house.host}/ada/kept/v1", b"GGUF first")
    ada("push", f"{name}:v1").well()
    house("immutable", "ada/kept", "v*").well()
    put_model(ada.models, f"{house.host}/ada/kept/new", b"GGUF second")
    done = ada("push", f"{name}:new", "--also", "v1")
    assert done.code == 7 and "immutable" in done.err and "nothing was sent" in done.err
    assert ada("tags", name, "--format", "json").well().json[0]["tag"] == "v1"


def refused(done: Done, name: str) -> None:
    assert done.code == 7, done
    assert f"{name}: it is there already" in done.err
    assert "nothing was sent" in done.err and "without --if-absent a push moves this one" in done.err


def test_if_absent_moves_no_tag_and_the_same_again_is_well(
    house: House, docker_registry: Registry, people: People
) -> None:
    ada = people("ada")
    for host in (house.host, docker_registry.host):
        name = f"{host}/ada/once:1"
        put_model(ada.models, f"{host}/ada/once/1", b"GGUF first")
        first = ada("push", name, "--if-absent", "--format", "json").well().json
        again = ada("push", name, "--if-absent", "--format", "json").well().json
        assert (first["tag"], again["tag"], again["transferred"]) == ("created", "unchanged", 0)
        put_model(ada.models, f"{host}/ada/once/1", b"GGUF second")
        refused(ada("push", name, "--if-absent"), name)
        refused(ada("push", name, "--if-absent", "--dry-run"), name)
        refused(ada("push", name, name.replace(":1", ":2"), "--if-absent", "--also", "1"), name)
        tags = {each["tag"]: each["digest"] for each in ada("tags", name, "--format", "json").well().json}
        assert tags == {"1": first["digest"]}
        ada("push", name).well()  # who says nothing moves it


def test_annotations_are_published_and_the_model_here_stays_as_it_is(
    docker_registry: Registry, ferry: Ferry
) -> None:
    name = f"{docker_registry.host}/acme/noted:1"
    raw = put_model(ferry.models, f"{docker_registry.host}/acme/noted/1")
    words = ("--annotation", "org.opencontainers.image.version=1.0=ü", "--annotation", "b=")
    told = ferry("push", name, *words, "--format", "json").well().json
    document = json.loads(ferry("show", name, "--remote", "--manifest").well().out)
    assert document.pop("annotations") == {"b": "", "org.opencontainers.image.version": "1.0=ü"}
    assert document == json.loads(raw)
    assert told["digest"] != str(Digest.of(raw))
    again = ferry("push", name, *words[2:], *words[:2], "--format", "json").well().json
    assert (again["tag"], again["digest"]) == ("unchanged", told["digest"])
    assert (ferry.models / "manifests" / docker_registry.host / "acme/noted/1").read_bytes() == raw
    row = ferry("outdated", name, "--format", "json").well().json[0]
    assert (row["state"], row["cost"]) == ("outdated", 0)  # there it says more than here
    for bad, why in (("k", "no value"), ("=v", "cannot be the key"), ("k=\x1b[1m", "do not print")):
        done = ferry("push", name, "--annotation", bad)
        assert done.code == 2 and why in done.err
    assert ferry("push", name, "--annotation", "k=1", "--annotation", "k=2").code == 2


def test_what_is_no_tag_or_meant_for_two_models_is_refused(ferry: Ferry) -> None:
    done = ferry("push", "tiny", "models.acme.example/acme/tiny", "--also", "acme/tiny:2")
    assert done.code == 2 and "--also: 'acme/tiny:2' is not a tag" in done.err and "a tag alone" in done.err
    by_digest = f"models.acme.example/acme/tiny@sha256:{'0' * 64}"
    done = ferry("push", "tiny", by_digest, "--also", "latest")
    assert done.code == 2 and "is published by its digest" in done.err
    done = ferry("push", "tiny:1", "tiny:2", "--to", "models.acme.example/acme", "--also", "latest")
    assert done.code == 2 and "models.acme.example/acme/tiny:latest: two of these models" in done.err


def test_a_summary_says_each_tag_and_each_failure_where_a_job_collects_them(
    docker_registry: Registry, ferry: Ferry
) -> None:
    to, summary = f"{docker_registry.host}/acme", ferry.home / "summary.md"
    summary.write_text("### before\n")
    put_model(ferry.models, f"{to}/told/1")
    words = ("push", f"{to}/told:1", "--also", "latest", "--summary", summary)
    assert "| would be created |" in told_by(ferry(*words, "--dry-run").well(), summary)
    digest = ferry(*words, "--format", "json").well().json["digest"]
    rows = [line for line in summary.read_text().splitlines() if digest in line]
    assert rows[-2:] == [
        f"| {to}/told:1 | created | 4.3 KB | {digest} |  |",
        f"| {to}/told:latest | created |  | {digest} |  |",
    ]
    assert summary.read_text().startswith("### before\n### ferry push\n\n1 model, 4.3 KB, of which")
    failing = ("push", "never|was", f"{to}/never", "--summary", summary)
    assert ferry(*failing).code == 2  # nothing was begun
    failing = ("push", "neverwas", f"{to}/never", "--summary", summary)
    done = ferry(*failing, "--format", "json")
    assert done.code == done.json["error"]["exit"] == 3
    assert f"| {to}/never:latest | failed |" in summary.read_text()
    done = ferry(*words, "--summary", ferry.home / "no" / "file")
    assert done.code == 2 and "there is no directory" in done.err and done.out == ""
    done = ferry(*words, "--summary", ferry.home)
    assert done.code == 8 and "writing the summary" in done.err and "tag unchanged" in done.out


def test_a_summary_on_standard_output_follows_what_is_said_there_and_is_in_no_document(
    docker_registry: Registry, ferry: Ferry
) -> None:
    name = f"{docker_registry.host}/acme/aloud:1"
    put_model(ferry.models, f"{docker_registry.host}/acme/aloud/1")
    words = ("push", name, "--summary", "/dev/stdout")
    done = ferry(*words, "--format", "json")
    assert done.code == 2 and "/dev/stdout is standard output" in done.json["error"]["message"]
    told, heading, table = ferry(*words).well().out.partition("### ferry push\n")
    assert told.startswith(name) and "tag created" in told
    assert heading and f"| {name} | created |" in table
    assert ferry("push", name, "--summary", "/dev/null", "--format", "json").well().json["tag"] == "unchanged"
    mirrored = ("mirror", name, f"{name}.1", "--summary", "/dev/stdout", "--format", "json")
    assert "/dev/stdout is standard output" in ferry(*mirrored).json["error"]["message"]


def test_what_further_tags_stand_for_is_asked_with_patience(ferry: Ferry) -> None:
    with Spy((reply(503), reply(403))) as spy:
        put_model(ferry.models, f"{spy.netloc}/acme/tiny/1")
        words = ("push", f"{spy.netloc}/acme/tiny:1", "--also", "latest", "--jobs", "1")
        done = ferry(*words, FERRY_FIRST_PAUSE="0.01")
    assert done.code == 4
    assert "503; trying again in" in done.err
    asked = [(seen.method, seen.target.rpartition("/")[2]) for seen in spy.seen]
    # The first GET: whether the tag is broken there. The second: why it is refused.
    assert asked[:5] == [*[("HEAD", "latest"), ("GET", "latest")] * 2, ("HEAD", "1")]


def test_small_blobs_of_a_new_repository_go_up_by_one_request_under_their_own_name_too(ferry: Ferry) -> None:
    empty = reply(404, X_Ferry_Single_Post="9999; empty")
    with Spy((empty, reply(201))) as spy:
        put_model(ferry.models, f"{spy.netloc}/acme/tiny/1")
        ferry("push", f"{spy.netloc}/acme/tiny:1", "--jobs", "1", FERRY_FIRST_PAUSE="0.01")
    first, second = spy.seen[:2]
    assert (first.method, second.method) == ("HEAD", "POST")
    assert "?digest=sha256" in second.target


def told_by(_done: Done, summary: Path) -> str:
    """What a run has added to a summary, which is then empty but for what was there before."""
    before, _, said = summary.read_text().partition("\n")
    summary.write_text(before + "\n")
    return said
