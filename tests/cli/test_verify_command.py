"""`ferry verify`: what it says of a store, for people and for scripts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import check_store
from peers import Registry, ferry_server
from person import Ferry
from stored_models import LAYERS, put_blob, put_model

from registry.model.digests import Digest

BIG = b"GGUF" + bytes(range(256)) * 4096
WEIGHTS = Digest.of(LAYERS["model"])


def blob(ferry: Ferry, digest: Digest = WEIGHTS) -> Path:
    return ferry.models / "blobs" / f"sha256-{digest.hex}"


def flip(path: Path, at: int = 10) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.fixture
def stocked(ferry: Ferry) -> Ferry:
    put_model(ferry.models)
    return ferry


def test_a_good_store_is_said_to_be_good_in_one_line(stocked: Ferry) -> None:
    done = stocked("verify").well()

    assert done.out == "6 blobs of 1 model, 4.3 KB: 6 good\n"
    assert {row["state"] for row in stocked("verify", "--format", "json").well().json} == {"good"}
    assert stocked("verify", "tiny").well().out == done.out


def test_damage_is_exit_5_and_named_with_the_models_it_is_in(stocked: Ferry) -> None:
    put_model(stocked.models, "models.example/acme/tiny/1.0")
    flip(blob(stocked))

    done = stocked("verify")
    rows = stocked("verify", "--format", "json")

    assert done.code == rows.code == 5
    assert f"damaged  {WEIGHTS.short}" in done.out and "tiny:latest" in done.out
    assert [row for row in rows.json if row["state"] != "good"] == [
        {
            "name": "models.example/acme/tiny:1.0",
            "digest": str(WEIGHTS),
            "state": "damaged",
            "spans": [],
            "size": len(LAYERS["model"]),
            "names": ["models.example/acme/tiny:1.0", "tiny:latest"],
        }
    ]


def test_what_is_missing_alone_is_exit_3_and_with_damage_5(stocked: Ferry) -> None:
    blob(stocked).unlink()
    assert stocked("verify").code == 3

    flip(blob(stocked, Digest.of(LAYERS["license"])))

    assert stocked("verify").code == 5


def test_what_no_model_needs_is_said_and_no_failure(stocked: Ferry) -> None:
    extra = put_blob(stocked.models, b"extra")

    done = stocked("verify", "--format", "json").well()

    rows = [row for row in done.json if row["state"] == "extra"]
    assert [(row["digest"], row["name"], row["spans"]) for row in rows] == [(extra, None, [])]
    assert "ferry prune removes it" in stocked("verify").well().out


def test_a_manifest_that_cannot_be_read_is_damage(stocked: Ferry) -> None:
    (stocked.models / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest").write_bytes(b"{")

    done = stocked("verify")
    rows = stocked("verify", "--format", "json")

    assert done.code == rows.code == 5
    assert "manifest of tiny:latest" in done.out
    row = next(row for row in rows.json if row["digest"] is None)
    assert (row["name"], row["state"], row["error"]["class"]) == ("tiny:latest", "damaged", "InvalidError")


def test_a_manifest_that_is_damaged_in_a_digest_is_suspected(stocked: Ferry) -> None:
    """All that was said of the weights is that no model needs them, and which command removes them."""
    manifest = stocked.models / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    before = manifest.read_text()
    other = "0" if WEIGHTS.hex[0] != "0" else "1"
    manifest.write_text(before.replace(WEIGHTS.hex, f"{other}{WEIGHTS.hex[1:]}"))

    done = stocked("verify")

    assert done.code == 3
    assert "tiny:latest misses a blob as large as one that no model needs" in done.err
    manifest.write_text(before)
    put_blob(stocked.models, bytes(len(LAYERS["model"])))
    assert "misses" not in stocked("verify").well().err


def test_a_model_that_is_not_here_is_exit_3(stocked: Ferry) -> None:
    assert stocked("verify", "nothing").code == 3


def test_how_far_it_is_never_runs_backwards(ferry: Ferry) -> None:
    put_model(ferry.models, weights=bytes(5 * 1024 * 1024))

    done = ferry("verify", "--progress", "json").well()

    lines = [json.loads(line) for line in done.err.splitlines()]
    dones: dict[str | None, int] = {}
    for line in lines:
        assert line["done"] >= dones.get(line["digest"], 0)
        assert line["done"] <= line["total"]
        dones[line["digest"]] = line["done"]
    assert lines[0]["event"] == "begin" and lines[-1]["done"] == lines[-1]["total"]


# --- repair --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with ferry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def pulled(ferry: Ferry, registry: Registry) -> str:
    """The name of a model that was pulled."""
    name = f"{registry.host}/acme/tiny:1.0"
    put_model(ferry.models, name.replace(":1.0", "/1.0"), weights=BIG)
    ferry("push", name).well()
    ferry("rm", name).well()
    ferry("pull", name).well()
    return name


@pytest.mark.usefixtures("pulled")
def test_repair_fetches_what_is_wrong_from_where_it_came_from(ferry: Ferry) -> None:
    flip(blob(ferry, Digest.of(BIG)))
    blob(ferry, Digest.of(LAYERS["license"])).unlink()
    assert ferry("verify").code == 5

    done = ferry("verify", "--repair", "--format", "json").well()

    assert sorted(row["was"] for row in done.json if "was" in row) == ["damaged", "missing"]
    assert {row["state"] for row in done.json} == {"good"}
    assert ferry("verify").well().out.startswith("6 blobs of 1 model")
    check_store(ferry.models)


def test_what_this_disk_refuses_is_said_once_and_no_other_place_is_advised(ferry: Ferry, pulled: str) -> None:
    ferry("cp", pulled, "mine").well()
    weights = blob(ferry, Digest.of(BIG))
    weights.unlink()
    weights.mkdir()

    done = ferry("verify", "--repair", "--from", pulled, "mine")

    assert done.code == 8
    assert done.err.count("is a directory, where a blob is to be") == 1
    assert "--from HOST/NAME" not in done.err
    assert weights.is_dir()


def test_a_model_that_was_made_here_is_asked_of_no_registry(ferry: Ferry) -> None:
    put_model(ferry.models)
    ferry("cp", "tiny", "mine").well()
    ferry("rm", "tiny").well()
    flip(blob(ferry))

    done = ferry("verify", "mine", "--repair", "--debug", HTTPS_PROXY="http://127.0.0.1:1")

    assert done.code == 5
    assert "mine:latest was made here: no registry is known that has it" in done.err
    assert "ferry verify NAME --repair --from HOST/NAME" in done.err
    assert "registry.ollama.ai" not in done.err


def test_who_said_from_where_is_not_told_to_say_it(ferry: Ferry, pulled: str) -> None:
    flip(blob(ferry, Digest.of(BIG)))

    done = ferry("verify", pulled, "--repair", "--from", pulled.replace("tiny:1.0", "nothing"))

    assert done.code == 5
    assert "answered 404" in done.err
    assert "--from" not in done.err


def test_from_another_model_is_no_repair_and_says_that_it_is_another(ferry: Ferry, pulled: str) -> None:
    """The registry was said to have lost a part of the model."""
    another = pulled.replace("tiny:1.0", "another:1.0")
    put_model(ferry.home / "far", another.replace(":1.0", "/1.0"), b"GGUF another")
    ferry("push", another, "--models", ferry.home / "far").well()
    flip(blob(ferry, Digest.of(BIG)))

    done = ferry("verify", pulled, "--repair", "--from", another)

    assert done.code == 5
    words = f"{another} at its registry is another model than {pulled} is here: its manifest names no blob"
    assert f"{words} {Digest.of(BIG).short}" in done.err
    assert "lost a part" not in done.err


def test_a_model_that_was_pulled_under_another_name_is_repaired_from_where_it_was(
    ferry: Ferry, pulled: str
) -> None:
    ferry("pull", pulled, "--as", "mine").well()
    ferry("rm", pulled).well()
    flip(blob(ferry, Digest.of(BIG)))

    assert "repaired" in ferry("verify", "mine", "--repair").well().out


@pytest.mark.parametrize("called", ["", "mine"])
def test_a_model_whose_manifest_was_lost_is_told_with_what_brings_it_again(
    ferry: Ferry, pulled: str, called: str
) -> None:
    if called:
        ferry("pull", pulled, "--as", called).well()
    lost = f"registry.ollama.ai/library/{called}/latest" if called else pulled.replace(":1.0", "/1.0")
    (ferry.models / "manifests" / lost).unlink()

    told = ferry("verify", "--repair", called or pulled)

    pull = f"ferry pull {pulled}{f' --as {called}:latest' if called else ''}"
    assert told.code == 3
    assert f"{pull} brings it again" in told.err
    again = ferry(*pull.split()[1:], "--format", "json").well().json
    assert (again["transferred"], again["tag"]) == (0, "created")


def test_a_manifest_that_cannot_be_read_is_fetched_again(ferry: Ferry, pulled: str) -> None:
    path = ferry.models / "manifests" / pulled.replace(":1.0", "/1.0")
    whole = path.read_bytes()
    path.write_bytes(whole[:30])

    found = ferry("verify")
    assert found.code == 5 and "extra" not in found.out  # it may name any blob

    told = f"repaired manifest of {pulled}, which is {Digest.of(whole).short} now"
    assert told in ferry("verify", "--repair").well().out

    assert path.read_bytes() == whole


def test_the_blobs_of_a_manifest_that_is_fetched_again_are_read_too(ferry: Ferry, pulled: str) -> None:
    """Nobody knew that they were needed; as a disk makes them wrong, no time of a file changes."""
    weights, path = blob(ferry, Digest.of(BIG)), ferry.models / "manifests" / pulled.replace(":1.0", "/1.0")
    path.write_bytes(path.read_bytes()[:30])
    before = weights.stat()
    flip(weights)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))

    done = ferry("verify", "--repair").well()

    assert f"repaired {Digest.of(BIG).short}" in done.out
    assert "6 blobs of 1 model" in done.out
    assert weights.read_bytes() == BIG
    check_store(ferry.models)


def test_a_manifest_is_repaired_as_it_was_whatever_its_name_stands_for_by_now(
    ferry: Ferry, pulled: str, tmp_path: Path
) -> None:
    path, other = ferry.models / "manifests" / pulled.replace(":1.0", "/1.0"), tmp_path / "other"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    put_model(other, pulled.replace(":1.0", "/1.0"), weights=b"GGUF another")
    ferry("push", pulled, "--models", other).well()

    row = ferry("verify", "--repair", "--format", "json").well().json[-1]

    assert path.read_bytes() == whole
    assert (row["state"], row["was"], row["digest"]) == ("good", "damaged", str(Digest.of(whole)))


@pytest.mark.parametrize("remembered", [True, False])
def test_another_model_of_that_name_at_its_registry_is_no_repair(
    ferry: Ferry, pulled: str, remembered: bool, tmp_path: Path
) -> None:
    """A model that was made here, and a stranger's of that name: it took its place, and prune its blobs."""
    mine, other = pulled.replace("tiny:1.0", f"mine:{remembered}"), tmp_path / "other"
    if remembered:
        ferry("cp", pulled, mine).well()
    else:
        put_model(ferry.models, mine.replace(":", "/").replace("/", ":", 1))
    put_model(other, mine.replace(":", "/").replace("/", ":", 1), weights=b"GGUF a stranger's")
    ferry("push", mine, "--models", other).well()
    path = ferry.models / "manifests" / mine.replace(":", "/").replace("/", ":", 1)
    path.write_bytes(b"{")

    done = ferry("verify", "--repair", mine)

    assert done.code == 5 and "ferry verify NAME --repair --from HOST/NAME" in done.err
    assert path.read_bytes() == b"{"
    ferry("verify", "--repair", mine, "--from", mine).well()  # that is asked for


def test_what_its_own_registry_has_not_comes_from_another_place(ferry: Ferry, pulled: str) -> None:
    """A model that was made here: nothing but --from knows where it is too."""
    put_model(ferry.models, "127.0.0.1:1/acme/mine/latest", weights=BIG)
    ferry("rm", pulled).well()
    flip(blob(ferry, Digest.of(BIG)))

    failed = ferry("verify", "127.0.0.1:1/acme/mine", "--repair")
    assert failed.code == 5 and "--from HOST/NAME" in failed.err

    ferry("verify", "127.0.0.1:1/acme/mine", "--repair", "--from", pulled).well()
    check_store(ferry.models)


@pytest.mark.usefixtures("pulled")
def test_a_blob_of_several_models_comes_from_the_one_that_has_it(ferry: Ferry) -> None:
    put_model(ferry.models, "127.0.0.1:1/acme/mine/latest", weights=BIG)
    flip(blob(ferry, Digest.of(BIG)))

    ferry("verify", "--repair").well()

    check_store(ferry.models)


def test_an_interrupted_one_says_that_the_next_begins_anew(stocked: Ferry) -> None:
    """A blob of so many bytes that it is not read when the signal comes."""
    path = stocked.models / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    document = json.loads(path.read_text())
    layer = next(each for each in document["layers"] if each["digest"] == str(WEIGHTS))
    layer["size"] = 1 << 40
    path.write_text(json.dumps(document))
    os.truncate(blob(stocked), 1 << 40)
    process = stocked.start("verify", "--progress", "json")
    assert process.stderr is not None
    process.stderr.readline()  # it reads by now
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "ferry: interrupted; nothing was changed, and the next run reads every byte again\n" in told
    assert "goes on" not in told


def test_from_without_repair_or_for_many_is_a_mistake(ferry: Ferry, pulled: str) -> None:
    assert ferry("verify", "--from", pulled).code == 2
    assert ferry("verify", "--repair", "--from", pulled).code == 2
