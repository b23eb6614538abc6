"""`ferry create` makes a model from a Modelfile and one GGUF file, and says what it could not do."""

from __future__ import annotations

import shutil
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
        (None, 3, "Modelfile: No such file"),
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
