"""Mirror, and show, cp and rm at a registry: nothing of the local store is touched."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from house import House
from person import Done, Ferry
from spy import Spy, reply
from stored_models import put_model

from cli import remote_removal
from cli.options import Invocation
from cli.render import Terminal
from cli.settings import Settings
from registry.errors import InvalidError
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX
from registry.publish.writer import tiny

People = Callable[[str], Ferry]
WEIGHTS = b"GGUF" + bytes(range(251)) * 8000


@pytest.fixture
def ada(people: People, tmp_path: Path) -> Ferry:
    """ada, with a store of her own for this test."""
    return Ferry(people("ada").home, {"OLLAMA_MODELS": str(tmp_path / "models")})


@pytest.fixture
def published(house: House, ada: Ferry, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A repository of its own in which 1.0 and stable are one model, and 2.0 is another."""
    repository = f"{house.host}/ada/{request.node.name[5:65].replace('_', '-')}"
    for tag, weights in (("1.0", WEIGHTS), ("2.0", WEIGHTS[:-1])):
        put_model(tmp_path / "published", f"{repository}/{tag}", weights)
        ada("push", f"{repository}:{tag}", "--models", tmp_path / "published").well()
    ada("cp", "--remote", f"{repository}:1.0", f"{repository}:stable").well()
    return repository


@pytest.fixture
def far(people: People, tmp_path: Path) -> Iterator[House]:
    """A second registry, in which the same ada has another name."""
    (tmp_path / "far").mkdir()
    opened = House(Ferry(tmp_path / "far")).open()
    try:
        opened.welcome(people("ada"), "lovelace")
        yield opened
    finally:
        opened.close()


def tags(ada: Ferry, repository: str) -> set[str]:
    return {row["tag"] for row in ada("tags", repository, "--format", "json").well().json}


def hows(done: Done) -> set[str]:
    return {blob["how"] for blob in done.json["blobs"]}


def test_mirror_carries_a_model_to_another_registry_and_keeps_nothing(
    published: str, ada: Ferry, far: House, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("models/**"))
    there = f"{far.host}/lovelace/tiny"
    told = ada("mirror", f"{published}:1.0", there, "--format", "json").well()
    assert told.json["name"] == f"{there}:1.0"
    assert told.json["transferred"] == told.json["size"] > len(WEIGHTS)
    assert hows(told) == {"uploaded"}
    assert set(tmp_path.rglob("models/**")) == before
    raw = [
        ada("show", "--remote", "--manifest", name).well().out
        for name in (f"{published}:1.0", f"{there}:1.0")
    ]
    assert raw[0] == raw[1]
    again = ada("mirror", f"{published}:1.0", there, "--format", "json").well()
    assert (again.json["transferred"], hows(again)) == (0, {"present"})
    ada("pull", f"{there}:1.0").well()


def test_mirror_inside_one_registry_mounts(published: str, ada: Ferry) -> None:
    told = ada("mirror", f"{published}:1.0", f"{published}-copy:new", "--format", "json").well()
    assert (told.json["transferred"], hows(told)) == (0, {"mounted"})
    said = ada("mirror", f"{published}:1.0", f"{published}-twin:new").well().out
    assert said.startswith(f"{published}:1.0 → {published}-twin:new  ")
    assert "shared inside the registry, nothing moved, tag created" in said
    assert tags(ada, f"{published}-copy") == {"new"}


def test_mirror_takes_a_digest_as_it_is(published: str, ada: Ferry) -> None:
    digest = ada("show", "--remote", f"{published}:1.0", "--format", "json").well().json["digest"]
    told = ada("mirror", f"{published}@{digest}", f"{published}-digest", "--format", "json").well()
    assert told.json["name"] == f"{published}-digest@{digest}"
    shown = ada("show", "--remote", f"{published}-digest@{digest}", "--format", "json").well()
    assert shown.json["digest"] == digest
    assert tags(ada, f"{published}-digest") == set()


def test_a_dry_mirror_moves_nothing(published: str, ada: Ferry) -> None:
    told = ada("mirror", f"{published}:1.0", f"{published}-dry", "--dry-run", "--format", "json").well()
    assert told.json["would_mount"] == told.json["size"] > 0
    assert told.json["would_transfer"] == 0
    assert ada("tags", f"{published}-dry").code == 3


def test_cp_at_a_registry_stays_there(published: str, ada: Ferry) -> None:
    refused = ada("cp", "--remote", f"{published}:1.0", "elsewhere.example/acme/tiny:1.0")
    assert refused.code == 2
    assert f"ferry mirror {published}:1.0 elsewhere.example/acme/tiny:1.0" in refused.err


def test_rm_at_a_registry_takes_the_tag_alone_and_needs_a_yes(published: str, ada: Ferry) -> None:
    refused = ada("rm", "--remote", f"{published}:1.0")
    assert refused.code == 2
    assert f"{published}:1.0 is " in refused.err and "nothing was removed" in refused.err
    assert tags(ada, published) == {"1.0", "2.0", "stable"}

    gone = ada("rm", "--remote", "--yes", f"{published}:1.0", "--format", "json").well().json
    assert gone["tags"] == ["1.0"]
    assert tags(ada, published) == {"2.0", "stable"}


def test_rm_of_a_digest_at_a_registry_names_every_tag_that_would_go(published: str, ada: Ferry) -> None:
    digest = ada("show", "--remote", f"{published}:1.0", "--format", "json").well().json["digest"]
    refused = ada("rm", "--remote", f"{published}@{digest}")
    assert refused.code == 2
    assert "1.0, stable" in refused.err
    assert tags(ada, published) == {"1.0", "2.0", "stable"}

    gone = ada("rm", "--remote", "--yes", f"{published}@{digest}", "--format", "json").well().json
    assert gone["tags"] == ["1.0", "stable"]
    assert tags(ada, published) == {"2.0"}


def test_a_setting_can_never_make_rm_act_on_the_registry(published: str, ada: Ferry) -> None:
    refused = ada("rm", "--yes", f"{published}:1.0", FERRY_REMOTE="1")
    assert refused.code == 3
    assert tags(ada, published) == {"1.0", "2.0", "stable"}


def test_show_at_a_registry_tells_what_show_tells_here(published: str, ada: Ferry) -> None:
    name = f"{published}:1.0"
    there = ada("show", "--remote", name, "--format", "json").well().json
    shown = ada("show", "--remote", "--modelfile", name).well()
    modelfile = shown.out
    assert f"\nFROM {name}\n" in modelfile
    assert f"ferry create needs the file; after ferry pull {name}, ferry show" in shown.err
    ada("pull", name).well()
    assert there.pop("by") == "ada"  # which only the registry knows
    assert there.pop("modified")
    assert ada("show", name, "--format", "json").well().json == there
    assert json.loads(ada("show", "--remote", "--manifest", name).well().out)["layers"] == there["layers"]
    here, far = (ada("show", *words, name).well().out for words in ((), ("--remote",)))
    assert here.split() == re.sub(r"^pushed .*\n", "", far, flags=re.MULTILINE).split()


# --- what becomes of a tag -------------------------------------------------------------------------------


def test_a_push_says_whether_the_tag_is_new_moved_or_as_it_was(published: str, ada: Ferry) -> None:
    one, two = (
        ada("show", "--remote", f"{published}:{tag}", "--format", "json").well().json["digest"]
        for tag in ("1.0", "2.0")
    )
    ada("pull", f"{published}:1.0", f"{published}:2.0").well()
    became = [
        ("1.0", None, "created", "tag would be created", "tag created"),
        ("1.0", one, "unchanged", "tag unchanged", "tag unchanged"),
        ("2.0", one, "moved", f"tag would move from {one[7:19]}", f"tag moved from {one[7:19]}"),
    ]
    for tag, was, word, would, did in became:
        words = ("push", f"{published}:{tag}", f"{published}:live")
        planned = ada(*words, "--dry-run", "--format", "json").well().json
        assert (planned["tag"], planned["was"]) == (word, was)
        assert would in ada(*words, "--dry-run").well().out
        told = ada(*words).well().out
        assert did in told and told.startswith(f"{published}:{tag} → {published}:live  ")
    assert ada("push", f"{published}:2.0", f"{published}:live", "--format", "json").json["was"] == two


def test_a_second_mirror_or_push_of_the_same_digest_writes_nothing(
    published: str, ada: Ferry, house: House
) -> None:
    there = f"{published}-again"
    ada("mirror", f"{published}:1.0", there).well()
    ada("pull", f"{published}:1.0").well()
    for words in (("mirror", f"{published}:1.0", there), ("push", f"{published}:1.0")):
        log = len(house.log)
        assert "all of it was there, tag unchanged" in ada(*words).well().out
        ada("tags", published).well()
        while "/tags/list" not in house.log[log:]:  # its lines are written behind the answers
            time.sleep(0.01)
        asked = [line for line in house.log[log:].splitlines() if "/ada/" in line]
        assert len(asked) > 5  # the tag and each blob
        assert [line for line in asked if " HEAD " not in line and " GET " not in line] == []
    assert ada("mirror", f"{published}:2.0", f"{there}:1.0", "--format", "json").json["tag"] == "moved"


def test_a_missing_tag_is_told_with_those_there_are(published: str, ada: Ferry) -> None:
    for words in (("pull",), ("show", "--remote"), ("pull", "--dry-run"), ("rm", "--remote", "--yes")):
        done = ada(*words, f"{published}:3.0")
        assert done.code == 3
        assert "its tags are: 1.0, 2.0, stable" in done.err
    ada("pull", f"{published}:1.0").well()
    for words in (("show",), ("rm",), ("push",), ("verify",), ("verify", f"{published}:1.0")):
        assert "its tags are: 1.0\n" in ada(*words, f"{published}:3.0").err


def test_several_models_end_with_their_total(published: str, ada: Ferry) -> None:
    done = ada("pull", f"{published}:1.0", f"{published}:2.0").well()
    assert re.search(
        r"^ferry: 2 models, 4\.0 MB, of which 4\.0 MB moved in [0-9.]+ s$", done.err, re.MULTILINE
    )
    planned = ada("pull", f"{published}:1.0", f"{published}:2.0", "--dry-run").well()
    assert "2 models, 4.0 MB, all of it is there" in planned.err


def test_a_repository_without_a_tag_or_a_manifest_that_says_nothing_hides_no_other(ferry: Ferry) -> None:
    """Debian's and CNCF's registry name it in their catalogue from the first upload on, and answer 404."""
    whole = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": DOCKER_CONFIG, "digest": f"sha256:{'0' * 64}", "size": 2},
            "layers": [],
        }
    )
    unknown = b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}'
    answers = (
        reply(200, b'{"repositories":["acme/begun","acme/tiny"]}'),
        reply(404, unknown),
        reply(200, b'{"name":"acme/tiny","tags":["1.0","2.0"]}'),
        reply(200, b"{}", **{"Content-Type": DOCKER_MANIFEST}),
        reply(200, whole.encode(), **{"Content-Type": DOCKER_MANIFEST}),
    )
    with Spy(answers) as spy:
        listed = ferry("list", spy.netloc, "--format", "json").well()
        host = spy.netloc

    assert [entry["name"] for entry in listed.json] == [f"{host}/acme/tiny:2.0"]
    assert "acme/tiny:1.0 is left out" in listed.err


def test_a_list_with_nothing_in_it_says_how_to_see_who_asked(ferry: Ferry) -> None:
    with Spy((reply(200, b'{"repositories":[]}'),)) as spy:
        listed = ferry("list", f"{spy.netloc}/acme").well()
        assert f"shows you no models; ferry whoami {spy.netloc}/acme says who you are" in listed.err


class _Person(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_who_says_no_is_not_told_to_say_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "confirm", lambda *_words, **_more: False)
    asked = Invocation(Settings({}, {}), Terminal(io.StringIO(), _Person(), answers=_Person()))
    with pytest.raises(InvalidError, match=r"^nothing was removed$") as caught:
        remote_removal._ask(asked, "acme/tiny:1 is 0123456789ab at the registry")
    assert not caught.value.hint


def test_a_tag_that_goes_after_it_was_listed_hides_no_other(ferry: Ferry) -> None:
    digest = f"sha256:{'1' * 64}"
    answers = (
        reply(200, b'{"name":"acme/tiny","tags":["1.0","2.0"]}'),
        reply(404),
        reply(200, b"", **{"Content-Type": DOCKER_MANIFEST, "Docker-Content-Digest": digest}),
    )
    with Spy(answers) as spy:
        told = ferry("tags", f"{spy.netloc}/acme/tiny", "--format", "json").well().json

    assert told == [{"tag": "2.0", "digest": digest}]


def test_show_names_what_an_index_is_made_of_here_and_there_alike(published: str, ada: Ferry) -> None:
    """It told of layers that there are none."""
    first = ada("show", "--remote", f"{published}:1.0", "--format", "json").well().json["digest"]
    size = len(ada("show", "--remote", "--manifest", f"{published}:1.0").well().out)
    child = {"mediaType": DOCKER_MANIFEST, "digest": first, "size": size}
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    children = [{**child, "platform": platform}, {**child, "platform": {"os": 7}}, child]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
    host, _, repository = published.partition("/")
    ada("api", "PUT", f"/v2/{repository}/manifests/all", "--host", host, "-d", index.decode()).well()
    here = Path(ada.environ["OLLAMA_MODELS"]) / "manifests" / published / "all"
    here.parent.mkdir(parents=True, exist_ok=True)
    here.write_bytes(index)

    for words in (("show", "--remote"), ("show",)):
        told = ada(*words, f"{published}:all", "--format", "json").well().json
        assert (told["manifests"], told["layers"], told["config"]) == (children, [], {})
        lines = ada(*words, f"{published}:all").well().out.splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("MANIFEST"))
        kinds = ["linux/arm64/v8", DOCKER_MANIFEST, DOCKER_MANIFEST]
        assert [line.split() for line in lines[at + 1 :]] == [[kind, first, str(size), "B"] for kind in kinds]
        assert not [line for line in lines if line.startswith(("LAYER", "size"))]
        refused = ada(*words, f"{published}:all", "--modelfile")
        assert (refused.code, refused.out) == (2, "") and "is an index of other manifests" in refused.err


def test_show_looks_into_weights_here_and_there_alike(house: House, ada: Ferry) -> None:
    name = f"{house.host}/ada/looked-into:1.0"
    put_model(
        Path(ada.environ["OLLAMA_MODELS"]), name.replace(":1.0", "/1.0"), tiny() + bytes(8 * 1024 * 1024)
    )
    here = ada("show", name, "--format", "json").well().json["weights"]
    ada("push", name).well()

    there = ada("show", "--remote", name, "--format", "json").well()

    assert there.json["weights"] == here
    assert (here["architecture"], here["quantization"]) == ("llama", "F16")
    assert here["parameters"] > 0 and here["tensors"] > 0 and here["context_length"] > 0
    assert "context length" in ada("show", "--remote", name).well().out
