"""ferry mirror of many names: what is meant, what is told, what is deleted; between real registries."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Registry
from person import Done, Ferry
from sample_models import Model, put
from test_destinations import answered

from cli.mirror_report import Round, show
from cli.render import Terminal
from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.errors import Reason, StorageError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.transfer.pairs import Outcome, Result

VERSIONS = ("v1", "v2", "v10", "latest")


@pytest.fixture(scope="module")
def fill() -> Iterator[Callable[..., None]]:
    """Publish models under these tags of a repository, each another one."""
    connections = Registries(lambda _: HostSettings(), Credentials())

    def publish(repository: str, *tags: str, size: int = 3000) -> None:
        for number, tag in enumerate(tags):
            name = Name.parse(f"{repository}:{tag}")
            seed = number + 10 * sum(repository.encode())
            put(connections.remote(name), name, Model.random(seed, size))

    yield publish
    connections.close()


@pytest.fixture(scope="module")
def team(docker_registry: Registry, fill: Callable[..., None]) -> str:
    """A namespace of two repositories with four tags, which no test changes."""
    for model in ("one", "two"):
        fill(f"{docker_registry.host}/team/{model}", *VERSIONS)
    return f"{docker_registry.host}/team"


@pytest.fixture
def own(request: pytest.FixtureRequest) -> str:
    """A namespace for this test alone, at whatever registry."""
    name: str = request.node.name
    return name[5:60].replace("_", "-").strip("-")


@pytest.fixture
def to(lab_registry: Registry, own: str) -> str:
    """One at the destination."""
    return f"{lab_registry.host}/{own}"


def rows(done: Done) -> dict[str, str]:
    return {row["destination"].partition("/")[2]: row["how"] for row in done.json}


def tags(ferry: Ferry, repository: str) -> list[str]:
    return [row["tag"] for row in ferry("tags", repository, "--format", "json").well().json]


def asked(done: Done, host: str) -> list[str]:
    return [line for line in done.err.splitlines() if line.startswith("> ") and host in line]


def test_a_namespace_arrives_whole_and_the_second_time_costs_a_question_a_tag(
    team: str, to: str, lab_registry: Registry, docker_registry: Registry, ferry: Ferry
) -> None:
    first = ferry("mirror", team, to).well()
    again = ferry("mirror", team, to, "--debug", "--format", "json").well()

    assert first.out.splitlines()[-1].startswith("8 copied, 0 present, 0 failed; ")
    assert set(rows(again).values()) == {"present"}
    assert (
        len(asked(again, docker_registry.host)) == 8 + 4
    )  # the catalogue, and a list for three repositories
    assert len(asked(again, lab_registry.host)) == 2  # its lists give digests
    assert not any("> PUT" in line or "> POST" in line for line in again.err.splitlines())
    assert sorted(tags(ferry, f"{to}/one")) == sorted(VERSIONS)
    assert not (ferry.home / ".ollama").exists()


def test_between_registries_whose_lists_give_digests_what_is_unchanged_costs_the_lists(
    to: str, lab_registry: Registry, ferry: Ferry, fill: Callable[..., None]
) -> None:
    fill(f"{to}/from", *VERSIONS, "v11", "v12", "v13", "v14")
    ferry("mirror", f"{to}/from", f"{to}/kept", "--tags", "*").well()

    again = ferry("mirror", f"{to}/from", f"{to}/kept", "--tags", "*", "--debug").well()

    assert again.out.splitlines()[-1].startswith("0 copied, 8 present, 0 failed; ")
    assert [line.split()[1] for line in asked(again, lab_registry.host)] == ["GET", "GET"]


def test_a_look_says_what_is_new_the_same_and_moved_from_where(
    docker_registry: Registry, own: str, to: str, ferry: Ferry, fill: Callable[..., None]
) -> None:
    source = f"{docker_registry.host}/{own}/one"
    fill(source, "v1", "v2", "v3")
    ferry("mirror", source, f"{to}/one", "--tags", "*").well()
    before = ferry("tags", f"{to}/one", "--format", "json").well().json
    fill(source, "v1", "new", size=4000)  # v1 is another model now

    said = ferry("mirror", source, f"{to}/one", "--tags", "v*", "--tags", "new", "--dry-run").well().out
    told = ferry("mirror", source, f"{to}/one", "--tags", "v1", "--dry-run", "--format", "json").well()

    digest = next(row["digest"] for row in before if row["tag"] == "v1")
    assert re.search(rf"one:v1 +moved +4\.0 KB +from {digest[7:19]}\n", said)
    assert said.splitlines()[-1].startswith("1 new, 1 moved, 2 same, 0 failed; ")
    assert (told.json[0]["tag"], told.json[0]["was"], told.json[0]["how"]) == ("moved", digest, None)
    assert told.json[0]["would_transfer"] > 0
    assert "new" not in tags(ferry, f"{to}/one")


def test_filters_choose_among_the_tags(team: str, to: str, ferry: Ferry) -> None:
    ferry("mirror", f"{team}/one", f"{to}/few", "--tags", "v*", "--exclude", "v2", "--newest", "1").well()

    assert tags(ferry, f"{to}/few") == ["v10"]
    none = ferry("mirror", f"{team}/one", f"{to}/few", "--tags", "w*").well()
    assert f"{team}/one has no tag that was asked for: nothing of it is mirrored" in none.err


def test_a_digest_and_one_name_go_as_they_always_did(team: str, to: str, ferry: Ferry) -> None:
    digest = ferry("tags", f"{team}/one", "--format", "json").well().json[0]["digest"]

    done = ferry("mirror", f"{team}/one@{digest}", f"{to}/one", "--format", "json").well()

    assert done.json["name"] == f"{to}/one@{digest}"
    assert ferry("mirror", f"{team}/one:v1", f"{to}/one", "--format", "json").well().json["tag"] == "created"


def test_a_name_without_a_tag_is_latest_whatever_else_is_asked(team: str, to: str, ferry: Ferry) -> None:
    """With --summary it was all tags of the repository."""
    ferry("mirror", f"{team}/one", f"{to}/alone", "--summary", ferry.home / "s.md").well()

    assert tags(ferry, f"{to}/alone") == ["latest"]


def test_one_name_goes_by_a_template_too(team: str, to: str, ferry: Ferry) -> None:
    ferry("mirror", f"{team}/one:v1", f"{to}/{{repository}}-kept:{{tag}}-a").well()

    assert tags(ferry, f"{to}/one-kept") == ["v1-a"]


def test_a_file_says_many_sources_with_names_by_template_and_goes_on_past_failures(
    team: str, to: str, ferry: Ferry, tmp_path: Path
) -> None:
    sync = tmp_path / "sync.toml"
    sync.write_text(f"""\
limit_rate = "900M"
[[mirror]]
source = "{team}/one"
destination = "{to}/by/{{repository}}-{{tag}}:stable"
tags = ["v*"]
exclude = ["v2"]
[[mirror]]
source = "{team}/nothing"
destination = "{to}/nothing"
[[mirror]]
source = "{team}/two:v1"
destination = "{to}/two:best"
""")

    stopped = ferry(
        "mirror", "--file", sync, "--format", "json", "--keep-going", "--summary", tmp_path / "s.md"
    )

    path = to.partition("/")[2]
    assert stopped.code == 3
    assert rows(stopped) == {
        f"{path}/by/one-v1:stable": "copied",
        f"{path}/by/one-v10:stable": "copied",
        f"{path}/nothing": "failed",
        f"{path}/two:best": "copied",
    }
    failed = next(row for row in stopped.json if row["how"] == "failed")
    assert failed["error"]["class"] == "NotFoundError"
    summary = (tmp_path / "s.md").read_text()
    assert "3 copied, 0 present, 1 failed" in summary
    assert f"| {to}/two:best | copied |" in summary


def test_two_sources_of_one_destination_are_told_apart(team: str, to: str, ferry: Ferry) -> None:
    done = ferry("mirror", team, f"{to}/all", "--tags", "v1", "--dry-run").well()
    clash = ferry("mirror", team, f"{to}/all/same:1", "--tags", "v1", "--tags", "v2", "--keep-going")

    assert "2 new" in done.out
    assert clash.code == 2
    assert "too" in clash.out


def test_inside_one_registry_no_blob_moves(
    team: str, docker_registry: Registry, own: str, ferry: Ferry
) -> None:
    there = f"{docker_registry.host}/{own}/copy"
    done = ferry("mirror", f"{team}/one", there, "--tags", "*", "--format", "json", "--debug").well()

    assert {row["transferred"] for row in done.json} == {0}
    assert not [line for line in asked(done, docker_registry.host) if "> PATCH" in line]
    assert len([line for line in done.err.splitlines() if "> GET" in line and "/one/tags/list" in line]) == 1


# --- what is deleted -----------------------------------------------------------------------------------


def extraneous(team: str, to: str, *more: str) -> list[str]:
    return ["mirror", f"{team}/one", f"{to}/one", "--tags", "v*", "--delete-extraneous", *more]


def test_what_the_source_has_no_more_goes_after_an_answer_only_and_what_filters_do_not_mean_stays(
    team: str, to: str, ferry: Ferry, fill: Callable[..., None]
) -> None:
    fill(f"{to}/one", "v0", "nightly")

    look = ferry(*extraneous(team, to, "--dry-run")).well()
    nobody = ferry(*extraneous(team, to))
    refused, asked = answered(ferry, b"n\n", *extraneous(team, to))
    kept = tags(ferry, f"{to}/one")
    done = ferry(*extraneous(team, to, "--yes", "--format", "json")).well()

    assert f"{to}/one:v0  would be deleted" in look.out
    assert nobody.code == 2
    assert "1 tag would be deleted, and nobody is here to ask" in nobody.out
    assert refused == 0 and "Delete this tag? [y/N]" in asked
    assert "v0" in kept
    assert {"destination": f"{to}/one:v0", "how": "deleted"}.items() <= done.json[-1].items()
    assert sorted(tags(ferry, f"{to}/one")) == ["nightly", "v1", "v10", "v2"]


def test_nothing_is_deleted_where_the_source_has_nothing_or_its_list_fails(
    team: str, to: str, ferry: Ferry, fill: Callable[..., None]
) -> None:
    fill(f"{to}/gone", "v1")

    missing = ferry("mirror", f"{team}/gone", f"{to}/gone", "--tags", "*", "--delete-extraneous", "--yes")
    none_meant = ferry("mirror", f"{team}/one", f"{to}/gone", "--tags", "w*", "--delete-extraneous", "--yes")

    assert missing.code == 3
    assert none_meant.code == 0
    assert tags(ferry, f"{to}/gone") == ["v1"]


def test_nothing_is_deleted_where_a_list_cannot_tell_what_a_template_brings_together(ferry: Ferry) -> None:
    """A catalogue that is cut short leaves out a/x, whose tags at the destination then look extraneous."""
    for template in ("{repository}", "one-{tag}"):
        words = ("mirror", "localhost:1/team", f"localhost:1/copy/{template}", "--delete-extraneous", "--yes")
        done = ferry(*words)
        assert done.code == 2
        assert "--delete-extraneous cannot tell" in done.err


def test_where_only_manifests_can_be_deleted_none_goes_that_a_tag_needs_which_stays(
    team: str, docker_registry: Registry, own: str, ferry: Ferry
) -> None:
    """Debian's registry deletes by digest: `old` is the same manifest as v1."""
    copy = f"{docker_registry.host}/{own}/copy"
    ferry("mirror", f"{team}/one:v1", f"{copy}:old").well()
    ferry("mirror", f"{team}/two:v2", f"{copy}:other").well()

    done = ferry("mirror", f"{team}/one", copy, "--tags", "*", "--delete-extraneous", "--yes")

    assert done.code == 2
    assert "deletes whole manifests only, and v1 needs this one" in done.out
    assert f"{copy}:other  deleted" in done.out
    assert sorted(tags(ferry, copy)) == sorted((*VERSIONS, "old"))


def test_what_another_entry_brings_is_not_deleted_and_nothing_is_before_every_list_was_read(
    team: str, to: str, ferry: Ferry, fill: Callable[..., None], tmp_path: Path
) -> None:
    """Three entries of one destination; the second stops a run without --keep-going."""
    fill(f"{to}/one", "v0", "best")
    entry = '[[mirror]]\nsource = "{}"\ndestination = "{}"\n'
    all_of_one = entry.format(f"{team}/one", f"{to}/one")
    best = entry.format(f"{team}/two:v1", f"{to}/one:best")
    sync = tmp_path / "sync.toml"
    words = ("mirror", "--file", sync, "--delete-extraneous", "--yes")

    sync.write_text(all_of_one + entry.format(f"{team}/nothing", f"{to}/one") + best)
    stopped = ferry(*words)
    kept = tags(ferry, f"{to}/one")
    sync.write_text(all_of_one + best)
    done = ferry(*words).well()

    assert stopped.code == 3
    assert {"v0", "best"} <= set(kept)
    assert f"{to}/one:v0  deleted" in done.out
    assert sorted(tags(ferry, f"{to}/one")) == sorted((*VERSIONS, "best"))


def test_a_source_that_is_nowhere_leaves_no_other_names(
    ferry: Ferry, team: str, to: str, tmp_path: Path
) -> None:
    done = ferry("mirror", f"{team}/nowhere", to, "--tags", "*")
    assert done.code == 3
    assert "is no repository with tags" in done.out and "--keep-going" not in done.err
    one = f'[[mirror]]\nsource = "{team}/nowhere"\ndestination = "{to}/nowhere"\n'
    (tmp_path / "sync.toml").write_text(one + one.replace("nowhere", "one"))
    done = ferry("mirror", "--file", tmp_path / "sync.toml")
    assert done.code == 3
    assert "--keep-going goes on with others, if there are any" in done.err


# --- what is told --------------------------------------------------------------------------------


def test_a_failure_is_told_without_what_its_line_says_already_and_each_next_step_once() -> None:
    there = "b.example/a/tiny"
    error = StorageError(
        f"uploading blob 0123456789ab to {there}:v1: b.example has no space left", reason=Reason.REGISTRY_FULL
    )
    failed = [Result("a.example/a/tiny:v1", f"{there}:v1", Outcome.FAILED, error=error)] * 2
    out, err = io.StringIO(), io.StringIO()

    show(Terminal(out, err), Round(failed, 1.0, stopped=True), verbose=False)

    assert f"{there}:v1  failed  0 B    b.example has no space left\n" in out.getvalue()
    step, ends = err.getvalue().splitlines()
    assert step.startswith("  -> the registry's disk or quota is full")  # no stream of UTF-8
    assert ends == "ferry: it ends with a failure; --keep-going goes on with others, if there are any"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_signature_that_comes_to_what_is_the_same_is_told(dry_run: bool) -> None:
    digest, moves = Digest.of(b"{}"), (0, 7) if dry_run else (7, 0)
    source, place = "a.example/a/t:1", "b.example/a/t"
    same = [
        Result(source, f"{place}:0", Outcome.PRESENT, digest, digest),
        Result(source, f"{place}:7", Outcome.PRESENT, digest, digest, *moves),
    ]
    out = io.StringIO()

    show(Terminal(out, io.StringIO()), Round(same, 1.0, dry_run), verbose=False)

    assert f"b.example/a/t:7  {'same' if dry_run else 'present'}" in out.getvalue()
    assert "b.example/a/t:0" not in out.getvalue()


def test_a_summary_that_cannot_be_written_takes_nothing_from_what_is_told(
    team: str, to: str, ferry: Ferry, tmp_path: Path
) -> None:
    done = ferry("mirror", f"{team}/one:v1", f"{to}/one", "--summary", tmp_path, "--format", "json")

    assert done.code == 8
    assert [row["how"] for row in done.json] == ["copied"]
    assert "writing the summary" in done.err


def test_json_is_one_document_also_where_everything_fails(lab_registry: Registry, ferry: Ferry) -> None:
    done = ferry(
        "mirror", "127.0.0.1:1/team", f"{lab_registry.host}/team", "--format", "json", "--give-up-after", "1"
    )

    assert done.code == 6
    (row,) = json.loads(done.out)
    assert (row["how"], row["error"]["exit"]) == ("failed", 6)
