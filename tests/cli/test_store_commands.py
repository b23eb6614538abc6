"""What list, show, cp, rm and prune do to the local store, and say about it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from person import ROOT, Ferry
from spy import Spy, reply
from stored_models import CONFIG, LAYERS, put_blob, put_model
from window import Window

from cli.commands.show import beside
from cli.render import Terminal, date, size
from registry.model.digests import Digest

HEAVY = {
    "requests",
    "urllib3",
    "cryptography",
    "aiohttp",
    "sqlalchemy",
    "tqdm",
    "jwt",
    "zstandard",
    "asyncio",
}
NOT_FOR_PULL = {
    "cryptography",
    "registry.server",
    "registry.targets.sweep",
    "registry.targets.verify",
    "registry.transfer.pairs",
    "subprocess",
    "tomllib",
    "tqdm",
}


def test_an_empty_store_lists_nothing_and_makes_nothing(ferry: Ferry) -> None:
    done = ferry("list").well()
    assert done.out.split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert ferry("list", "--format", "json").json == []
    assert list(ferry.home.iterdir()) == []


def test_list_shows_what_is_there_as_ollama_names_it(ferry: Ferry) -> None:
    raw = put_model(ferry.models)
    put_model(ferry.models, "127.0.0.1:5050/acme/tiny/1.0", b"more")
    listed = {entry["name"]: entry for entry in ferry("list", "--format", "json").json}
    assert set(listed) == {"tiny:latest", "127.0.0.1:5050/acme/tiny:1.0"}
    tiny = listed["tiny:latest"]
    assert tiny.keys() == {"name", "digest", "size", "modified"}
    assert tiny["digest"] == str(Digest.of(raw))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tiny["modified"])
    line = next(line for line in ferry("list").out.splitlines() if line.startswith("tiny"))
    assert re.fullmatch(rf"tiny:latest +{hashlib.sha256(raw).hexdigest()[:12]} +4\.\d KB +just now", line)


def test_list_starts_without_any_heavy_module(ferry: Ferry) -> None:
    put_model(ferry.models)
    program = "import sys\nfrom cli import main\ntry: main.main(['list'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=ferry.env(), capture_output=True, text=True)
    assert "tiny:latest" in done.stdout
    modules = done.stdout.split()
    loaded = {name.partition(".")[0] for name in modules}
    assert "registry" in loaded
    assert loaded & HEAVY == set()
    assert "importlib.metadata" not in modules


def test_pull_starts_without_what_another_command_needs_or_a_key(ferry: Ferry) -> None:
    program = "import sys\nfrom cli import main\ntry: main.main(sys.argv[1:])\nfinally: print(*sys.modules)"
    with Spy((reply(404),)) as spy:
        words = [sys.executable, "-c", program, "pull", f"{spy.netloc}/acme/tiny"]
        done = subprocess.run(words, env=ferry.env(), capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"registry.net.http", "registry.targets.store"} <= loaded
    assert loaded & NOT_FOR_PULL == set()


def test_show_tells_config_and_layers(ferry: Ferry) -> None:
    raw = put_model(ferry.models)
    told = ferry("show", "tiny", "--format", "json").json
    assert told.keys() == {"name", "digest", "config", "layers", "weights"}
    assert told["digest"] == str(Digest.of(raw))
    assert told["config"] == CONFIG
    assert [layer["size"] for layer in told["layers"]] == [len(data) for data in LAYERS.values()]
    text = ferry("show", "tiny").well().out
    assert "model family" in text
    assert "llama" in text


def test_show_gives_the_manifest_byte_for_byte(ferry: Ferry) -> None:
    raw = put_model(ferry.models)
    assert ferry("show", "tiny", "--manifest").well().out.encode() == raw


def test_show_writes_a_modelfile(ferry: Ferry) -> None:
    put_model(ferry.models)
    lines = ferry("show", "tiny", "--modelfile").well().out.splitlines()
    blob = ferry.models / "blobs" / f"sha256-{Digest.of(LAYERS['model']).hex}"
    assert f"FROM {blob}" in lines
    assert "TEMPLATE {{ .Prompt }}" in lines
    assert 'SYSTEM """Say "hello"' in lines
    assert "PARAMETER stop <a>" in lines
    assert "PARAMETER temperature 0.5" in lines


def test_what_a_model_says_of_itself_cannot_paint_the_terminal(ferry: Ferry) -> None:
    put_model(ferry.models, config={**CONFIG, "model_family": "\x1b[31m"})
    shown = ferry("show", "tiny").well().out
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_cp_makes_a_second_name_and_rm_keeps_what_another_name_needs(ferry: Ferry) -> None:
    put_model(ferry.models)
    told = ferry("cp", "tiny", "models.acme.example/acme/tiny:1.0", "--format", "json").json
    assert told["name"] == "models.acme.example/acme/tiny:1.0"
    blobs = sorted((ferry.models / "blobs").iterdir())
    assert ferry("rm", "tiny").well().out == "removed tiny:latest, nothing freed\n"
    assert sorted((ferry.models / "blobs").iterdir()) == blobs
    assert [entry["name"] for entry in ferry("list", "--format", "json").json] == [told["name"]]
    held = sum(path.stat().st_blocks * 512 for path in blobs)
    assert ferry("rm", told["name"], "--format", "json").json == {**told, "freed": held}
    assert list((ferry.models / "blobs").iterdir()) == []


def test_several_names_go_on_after_a_failure_and_end_with_its_code(ferry: Ferry) -> None:
    put_model(ferry.models)
    done = ferry("rm", "nothing", "tiny", "--format", "json")
    assert done.code == 3
    first, second = done.json
    assert first["error"]["class"] == "NotFoundError"
    assert second["name"] == "tiny:latest"
    put_model(ferry.models)
    done = ferry("rm", "nothing", "tiny")
    assert done.code == 3
    assert re.fullmatch(r"removed tiny:latest, [0-9.]+ KB freed\n", done.out)
    assert "1 of 2 failed" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show", "nothing"], 3),
        (["rm", "nothing"], 3),
        (["cp", "nothing", "x"], 3),
        (["show", "a b"], 2),
        (["show", "../x"], 2),
        (["show", "x:" + "y" * 200], 2),
        (["cp", "tiny", "h/a/b/c:1"], 2),
        (["cp", "tiny", "tiny@sha256:" + "0" * 64], 2),
        (["rm", "tiny@sha256:" + "0" * 64], 2),
        (["show", "ftp://x/y/z"], 2),
    ],
)
def test_wrong_names_get_one_sentence_and_their_code(ferry: Ferry, words: list[str], code: int) -> None:
    put_model(ferry.models)
    done = ferry(*words)
    assert done.code == code, done.err
    assert done.err.startswith("ferry: ")
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 2


def test_a_store_elsewhere_is_used_when_said(ferry: Ferry) -> None:
    elsewhere = ferry.home / "elsewhere"
    put_model(elsewhere)
    assert len(ferry("list", "--models", elsewhere, "--format", "json").json) == 1
    assert len(ferry("list", "--format", "json", OLLAMA_MODELS=str(elsewhere)).json) == 1
    assert ferry("list", "--format", "json").json == []


def test_a_store_that_is_no_directory_is_said(ferry: Ferry) -> None:
    (ferry.home / "file").write_text("")
    done = ferry("rm", "tiny", "--models", ferry.home / "file")
    assert done.code in (3, 8)
    assert "Traceback" not in done.err


def test_prune_takes_what_nothing_names_after_an_hour(ferry: Ferry) -> None:
    put_model(ferry.models)
    orphan = put_blob(ferry.models, b"nobody names me")
    path = ferry.models / "blobs" / orphan.replace(":", "-")
    assert ferry("prune", "--now", "--format", "json").well().json["items"] == []

    os.utime(path, (time.time() - 7200,) * 2)
    would = ferry("prune", "--dry-run", "--format", "json").well().json
    assert [item["path"] for item in would["items"]] == [str(path)]
    assert would["freed"] == 0
    assert path.exists()

    done = ferry("prune").well()
    assert done.out.startswith(f"blobs/sha256-{orphan[7:19]}…  ")
    assert "freed" in done.out
    assert not path.exists()
    ferry("show", "tiny").well()


def test_prune_takes_no_blob_for_left_over_because_every_manifest_is_lost(ferry: Ferry) -> None:
    """A directory of manifests that is lost, or a disk that is not mounted there: all blobs went."""
    put_model(ferry.models)
    blobs = sorted((ferry.models / "blobs").iterdir())
    for path in blobs:
        os.utime(path, (time.time() - 7200,) * 2)
    (ferry.models / "manifests").rename(ferry.models / "away")

    for words in (["prune"], ["prune", "--now"]):
        assert "all blobs are kept" in (done := ferry(*words).well()).err
        assert "the same command with --yes removes them" in done.err  # with the same --models, too
        assert "nothing is left over" not in done.out
    (ferry.models / "manifests").mkdir()
    assert ferry("prune", "--format", "json").well().json["items"] == []
    assert sorted((ferry.models / "blobs").iterdir()) == blobs

    ferry("prune", "--yes").well()
    assert not any((ferry.models / "blobs").iterdir())


def test_prune_forgets_uploads_that_no_registry_knows_any_more(ferry: Ferry) -> None:
    memory = ferry.home / ".local" / "state" / "ferry" / "uploads"
    memory.mkdir(parents=True)
    (memory / "fresh.upload").write_text("{}")
    (memory / "old.upload").write_text("{}")
    os.utime(memory / "old.upload", (time.time() - 2 * 86400,) * 2)

    ferry("prune", "--dry-run").well()
    assert len(list(memory.iterdir())) == 2

    ferry("prune").well()
    assert [file.name for file in memory.iterdir()] == ["fresh.upload"]


def test_prune_says_what_waits_and_until_when(ferry: Ferry) -> None:
    put_model(ferry.models)
    assert ferry("prune").well().out == "nothing is left over\n"
    orphan = put_blob(ferry.models, b"nobody names me").replace(":", "-")
    left = ferry.models / ".ferry" / "partial" / f"sha256-{'0' * 64}"
    left.parent.mkdir(parents=True)
    left.with_name(f"{left.name}.data").write_bytes(bytes(315_000))
    left.with_name(f"{left.name}.journal").touch()
    held = left.with_name(f"{left.name}.data").stat().st_blocks * 512
    moment = left.with_name(f"{left.name}.data").stat().st_mtime + 3600

    waiting = ferry("prune", "--dry-run", "--format", "json").well().json["waiting"]
    told = ferry("prune").well().out

    assert [item["path"] for item in waiting] == [str(ferry.models / "blobs" / orphan), str(left)]
    assert waiting[1]["size"] == held
    assert waiting[1]["until"] in (date(moment), date(moment + 1))
    until = time.strftime("%H:%M", time.localtime(moment + 59))
    assert f".ferry/partial/sha256-{'0' * 12}…  {size(held)}  waits until {until}\n" in told
    assert "nothing is left over" not in told
    assert f"ferry prune --now frees {size(held)} of it" in told
    done = ferry("prune", "--now").well().out
    assert f".ferry/partial/sha256-{'0' * 12}…  {size(held)}\n" in done
    assert f"{size(held)} freed\n" in done
    assert "--now" not in done
    assert list(left.parent.iterdir()) == []


def test_prune_keeps_every_blob_while_a_manifest_cannot_be_read(ferry: Ferry) -> None:
    put_model(ferry.models)
    path = ferry.models / "blobs" / put_blob(ferry.models, b"nobody names me").replace(":", "-")
    os.utime(path, (time.time() - 7200,) * 2)
    (ferry.models / "manifests/registry.ollama.ai/library/tiny/broken").write_text("{")

    done = ferry("prune").well()
    assert "all of them are kept" in done.err
    assert path.exists()


def test_lists_and_what_is_shown_fit_80_columns(ferry: Ferry) -> None:
    host = "models.dept-x.acme.example:5050"
    put_model(ferry.models, f"{host}/acme/tiny/1.0")
    name = f"{host}/acme/tiny:1.0"
    assert len(name) == 45
    for words in (("list",), ("show", name), ("show", name, "--layers")):
        lines = ferry(*words).well().out.splitlines()
        assert max(map(len, lines)) <= 80, lines
    assert name in ferry("list").out


def test_what_is_shown_fits_a_terminal_and_keeps_a_names_end_and_the_digest() -> None:
    name, digest = f"models.acme.example:5050/acme/{'tiny' * 20}:1.0-q4", str(Digest.of(b""))
    rows = [("name", name), ("digest", digest), ("pushed", "2026-11-26T17:25:20Z by ada"), ("kind", "x" * 99)]
    shown = list(beside(rows, 80))
    assert [len(line) for line in shown] == [80, 79, 35, 80]
    assert shown[0].startswith("name    …") and shown[0].endswith("tiny:1.0-q4")
    assert shown[1].endswith(digest)
    assert next(iter(beside(rows, None))) == f"name    {name}"  # what a pipe reads is whole


def test_a_table_is_cut_to_a_narrow_terminal_and_keeps_the_ends_of_names() -> None:
    window = Window(80)  # which is what a terminal has that does not say
    name = "models.department.of-many-models.acme.example:5050/acme/tiny:1.0"
    Terminal(window, window).table(("NAME", "ID", "SIZE"), [(name, "0" * 12, "1 B")])
    assert max(map(len, window.seen)) <= 80
    assert window.seen[1].startswith("…") and "acme/tiny:1.0  000000000000  1 B" in window.seen[1]
    tags = Window(80)
    Terminal(tags, tags).table(("TAG", "ID"), [("v" * 118 + "-x86-64-q4", "0" * 12)])
    assert max(map(len, tags.seen)) <= 80
    assert tags.seen[1].endswith("-x86-64-q4  000000000000")


def test_create_is_quiet_where_that_is_wished(ferry: Ferry) -> None:
    shutil.copytree(ROOT / "fixtures", ferry.home, dirs_exist_ok=True)
    done = ferry("create", "tiny", "--quiet").well()
    assert (done.out, done.err) == ("", "")
    assert "made of" in ferry("create", "tiny").well().out


@pytest.mark.parametrize(
    "words", [("verify",), ("cp", "tiny", "other"), ("show", "tiny")], ids=lambda words: words[0]
)
def test_blobs_by_their_older_names_are_said_to_be_that(words: tuple[str, ...], ferry: Ferry) -> None:
    put_model(ferry.models)
    for path in (ferry.models / "blobs").iterdir():
        path.rename(path.with_name(path.name.replace("-", ":")))
    assert ferry(*words).err.count("are named sha256:… as by an old Ollama") == 1
