"""`ferry create` makes a model from a Modelfile and one GGUF file, and says what it could not do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from person import Ferry
from shell import ROOT

FIXTURES = ROOT / "fixtures"


@pytest.fixture
def here(ferry: Ferry) -> Path:
    """A directory with the fixtures' Modelfile and weights."""
    folder = ferry.home / "work"
    shutil.copytree(FIXTURES, folder)
    return folder


def test_a_model_is_made_listed_and_shown(ferry: Ferry, here: Path) -> None:
    told = ferry("create", "tiny:1.0", "-f", here / "Modelfile", "--format", "json").well().json
    assert told["name"] == "tiny:1.0"
    assert told["warnings"] == []
    assert told["size"] == sum(blob["size"] for blob in told["blobs"])
    shown = ferry("show", "tiny:1.0", "--modelfile").well().out
    assert "SYSTEM You are a very small model." in shown
    assert "PARAMETER temperature 0.7" in shown


def test_what_show_prints_makes_the_same_model_again(ferry: Ferry, here: Path) -> None:
    first = ferry("create", "one", "-f", here / "Modelfile", "--format", "json").well().json
    (here / "Again").write_text(ferry("show", "one", "--modelfile").well().out)
    again = ferry("create", "two", "-f", here / "Again", "--format", "json").well().json
    assert again["digest"] == first["digest"]
    assert {blob["how"] for blob in again["blobs"]} == {"present"}


def test_one_line_tells_what_was_made(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "tiny", "-f", here / "Modelfile").well()
    assert done.out.startswith("tiny:latest  ")
    assert "made of 5 layers" in done.out
    assert done.err == ""


def test_what_is_dropped_is_said_on_standard_error(ferry: Ferry, here: Path) -> None:
    with (here / "Modelfile").open("a") as file:
        file.write("PARAMETER mirostat 1\n")
    done = ferry("create", "tiny", "-f", here / "Modelfile").well()
    assert "mirostat" in done.err
    assert ferry("create", "tiny", "-f", here / "Modelfile", "--quiet").well().err == ""


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, 2, "there is no Modelfile"),
        ("", 2, "no FROM"),
        ("FORM ./tiny.gguf", 2, "line 1"),
        ("FROM ./nothing.gguf", 3, "no such file"),
        ("FROM llama3", 3, "no such file"),
        ("FROM ./LICENSE", 2, "not a GGUF file"),
        ("FROM ./tiny.gguf\nPARAMETER top_k 1.5", 2, "not a whole number"),
        ("FROM ./tiny.gguf\nPARAMETER tpo_k 1", 2, "no parameter"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_model(
    ferry: Ferry, here: Path, text: str | None, code: int, words: str
) -> None:
    (here / "Modelfile").unlink()
    if text is not None:
        (here / "Modelfile").write_text(text)
    done = ferry("create", "tiny", "-f", here / "Modelfile")
    assert done.code == code
    assert words in done.err
    assert len(done.err.splitlines()) <= 2
    assert ferry("list", "--format", "json").json == []


def test_weights_that_are_cut_off_are_refused(ferry: Ferry, here: Path) -> None:
    with (here / "tiny.gguf").open("r+b") as file:
        file.truncate(200_000)
    done = ferry("create", "tiny", "-f", here / "Modelfile")
    assert done.code == 2
    assert "cut off" in done.err


# --- what a Modelfile may be ---------------------------------------------------------------------------


def test_a_link_to_a_modelfile_and_links_to_weights_are_files(ferry: Ferry, here: Path) -> None:
    """As in a Kubernetes ConfigMap, and in a cache of downloads."""
    mounted = ferry.home / "mounted"
    (mounted / "..data").mkdir(parents=True)
    (mounted / "..data" / "Modelfile").write_text("FROM ./weights.gguf\n")
    (mounted / "Modelfile").symlink_to("..data/Modelfile")
    (mounted / "weights.gguf").symlink_to(here / "tiny.gguf")

    ferry("create", "tiny", "-f", mounted / "Modelfile").well()


@pytest.mark.parametrize("named", ["-", "/dev/stdin"])
@pytest.mark.parametrize("from_file", [True, False])
def test_a_modelfile_comes_through_a_pipe_and_its_paths_are_relative_to_where_one_is(
    named: str, from_file: bool, ferry: Ferry, here: Path
) -> None:
    (here / "Other").write_text("FROM ./tiny.gguf\n")
    words = [sys.executable, "-m", "cli", "create", "tiny", "-f", named]
    redirected = ["sh", "-c", '"$@" < Other' if from_file else 'cat Other | "$@"', "sh", *words]

    env = {**ferry.env(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(redirected, cwd=here, env=env, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_no_modelfile_says_how_to_write_one(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "tiny", "-f", here / "nothing")

    assert done.code == 2
    assert f"there is no Modelfile at {here / 'nothing'}" in done.err
    assert "FROM ./weights.gguf" in done.err


def test_weights_in_place_of_a_modelfile_are_called_that(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "tiny", "-f", here / "tiny.gguf")

    assert done.code == 2
    assert "is a GGUF file, not a Modelfile" in done.err
    assert f"FROM {here / 'tiny.gguf'}" in done.err


def test_a_directory_in_place_of_a_modelfile_is_called_that(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "tiny", "-f", here)

    assert (done.code, "is a directory" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"\n <HTML>", "web page"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"a":{}}'.ljust(64), "safetensors"),
        (b"lmgg" + bytes(20), "GGML"),
        (b"tjgg\x03" + bytes(20), "GGML"),
        (b"PK\x03\x04" + bytes(20), "PyTorch"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_weights_is_called_what_it_is(head: bytes, words: str, ferry: Ferry, here: Path) -> None:
    (here / "odd").write_bytes(head)
    (here / "Modelfile").write_text("FROM ./odd")

    done = ferry("create", "tiny", "-f", here / "Modelfile")

    assert done.code == 2
    assert "not a GGUF file but " in done.err and words in done.err


def test_weights_from_a_pipe_are_refused(ferry: Ferry, here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "Modelfile").write_text("FROM ./pipe")

    done = ferry("create", "tiny", "-f", here / "Modelfile")

    assert (done.code, "is not a file" in done.err) == (2, True)
