"""`ferry create` makes a model from a Modelfile and one GGUF file, and says what it could not do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from person import Ferry
from shell import ROOT
from stored_models import put_layers

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


@pytest.mark.parametrize(
    ("layers", "lost"),
    [
        ({"template": '{{ if .System }}"""{{ .System }}""" {{ end }}'}, ""),
        ({"template": 'say """x"""'}, ""),
        ({"system": '"quoted"'}, ""),
        ({"system": " two spaces in front\n\ttab\n"}, ""),
        ({"system": "# no comment"}, ""),
        ({"messages": '[{"role":"user","content":"x \\"\\"\\" y\\nz"}]'}, ""),
        ({"params": '{"num_ctx":4096,"stop":["<a>"," b \\n"],"temperature":0.7,"use_mmap":true}'}, ""),
        ({"template": 'first """\nsecond'}, "the template has a line that ends with a quote"),
        (
            {"template": "a\u00a0b\u200d"},
            "the template has characters that a Modelfile cannot hold: U+00A0, U+200D",
        ),
        ({"license": b"Caf\xe9"}, "the license is not UTF-8 text"),
        ({"params": '{"mirostat":1}'}, "parameter 'mirostat' cannot be set"),
        ({"params": '{"num_ctx":"many"}'}, "parameter 'num_ctx' cannot be set"),
        ({"messages": '[{"role":"tool","content":"x"}]'}, "a message has more than a role and a text"),
        ({"messages": '[{"role":"user","content":"x","images":["y"]}]'}, "a message has more"),
        ({"tensor": "x"}, "a Modelfile has no word for a layer of kind tensor"),
    ],
)
def test_a_modelfile_that_show_prints_makes_the_model_again_or_says_what_it_cannot(
    layers: dict[str, str | bytes], lost: str, ferry: Ferry, here: Path
) -> None:
    made = [(kind, data if isinstance(data, bytes) else data.encode()) for kind, data in layers.items()]
    put_layers(
        ferry.models,
        "registry.ollama.ai/library/one/1",
        [("model", (here / "tiny.gguf").read_bytes()), *made],
    )

    shown = ferry("show", "one:1", "--modelfile")

    assert shown.code == (2 if lost else 0), shown.err
    if lost:
        assert f"this Modelfile makes another model than one:1: {lost}" in shown.err
        assert f"# Not as it is in the model: {lost}" in shown.out
        document = ferry("show", "one:1", "--modelfile", "--format", "json")
        assert (document.code, lost in document.json["lost"][0]) == (2, True)
        assert document.json["modelfile"] == shown.out
        return
    (here / "Again").write_text(shown.out, newline="")
    ferry("create", "two", "-f", here / "Again").well()
    again = ferry("show", "two", "--format", "json").well().json["layers"]
    texts = {layer["mediaType"]: blob_of(ferry, layer["digest"]) for layer in again[1:]}
    for kind, data in made:
        text = texts[f"application/vnd.ollama.image.{kind}"]
        assert json.loads(text) == json.loads(data) if kind in ("params", "messages") else text == data


def blob_of(ferry: Ferry, digest: str) -> bytes:
    return (ferry.models / "blobs" / digest.replace(":", "-")).read_bytes()


def test_one_line_tells_what_was_made(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "tiny", "-f", here / "Modelfile").well()
    assert done.out.startswith("tiny:latest  ")
    assert "made of 5 layers" in done.out
    assert done.err == ""


def test_weights_that_are_cut_off_are_to_be_copied_again(ferry: Ferry, here: Path) -> None:
    (here / "cut.gguf").write_bytes((here / "tiny.gguf").read_bytes()[:-1])
    done = ferry("create", "cut", "-f", "-", stdin=f"FROM {here / 'cut.gguf'}\n")
    assert done.code == 2
    assert "it is cut off" in done.err and "→ copy or convert it again\n" in done.err


def test_one_layer_is_no_layers(ferry: Ferry, here: Path) -> None:
    done = ferry("create", "bare", "-f", "-", stdin=f"FROM {here / 'tiny.gguf'}\n").well()
    assert done.out.endswith("made of 1 layer\n")


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
        ("FROM ./tiny.gguf\nPARAMETER tpo_k 1", 2, "Modelfile line 2: there is no parameter"),
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
        (b"\xef\xbb\xbf<html>", "web page"),
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
    if head:
        done = ferry("create", "tiny", "-f", here / "odd")
        assert done.code == 2 and "odd is not a Modelfile but a" in done.err and words in done.err


def test_a_directory_of_safetensors_is_called_that(ferry: Ferry, here: Path) -> None:
    (here / "hf").mkdir()
    (here / "hf" / "model-00001-of-00002.safetensors").touch()
    (here / "Modelfile").write_text("FROM ./hf")

    done = ferry("create", "tiny", "-f", here / "Modelfile")

    assert done.code == 2
    assert "is a directory of safetensors files" in done.err and "convert_hf_to_gguf" in done.err


def test_weights_from_a_pipe_are_refused(ferry: Ferry, here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "Modelfile").write_text("FROM ./pipe")

    done = ferry("create", "tiny", "-f", here / "Modelfile")

    assert (done.code, "is not a file" in done.err) == (2, True)
