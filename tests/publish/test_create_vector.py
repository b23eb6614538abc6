"""What a real `ollama create` wrote, byte for byte, and what cannot be made yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.publish.build import Built, build, human_number
from registry.publish.modelfile import Modelfile
from registry.publish.writer import Weights, write

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "create.json").read_text())
NAME = Name.parse("registry.example/a/b:1")


def put_weights(path: Path, elements: int, **metadata: object) -> None:
    """A GGUF file with one F16 tensor of so many zeros, which take no room on the disk."""
    said = {"general.architecture": "bert", "general.file_type": 1, **metadata}
    head = write({key: value for key, value in said.items() if value is not None}, [Weights("w", (0,), [])])
    at = head.rindex(b"w") + 5  # behind the name and the number of dimensions
    path.write_bytes(head[:at] + elements.to_bytes(8, "little") + head[at + 8 :])
    with path.open("ab") as file:
        file.truncate(len(head) + 2 * elements)


def made(folder: Path, text: str, **metadata: object) -> Built:
    put_weights(folder / "w.gguf", 1000, **metadata)
    return build(Modelfile.parse(text.encode()), folder)


def text_of(built: Built, blob: Descriptor) -> str:
    return b"".join(built.open(NAME, blob, Span(0, blob.size)).stream).decode()


def test_every_byte_of_the_vector_but_the_weights_is_the_same(tmp_path: Path) -> None:
    put_weights(tmp_path / "minilm-f16.gguf", 22_570_000)
    built = build(Modelfile.parse(VECTOR["modelfile"].encode()), tmp_path)
    weights = next(layer for layer in built.manifest.layers if layer.media_type.endswith(".model"))
    recorded = next(blob for blob in VECTOR["blobs"] if "text" not in blob)
    expected = VECTOR["manifest"].replace(recorded["digest"], str(weights.digest))
    assert built.manifest.raw.decode() == expected.replace(f":{recorded['size']}}}", f":{weights.size}}}")
    texts = {str(blob.digest): text_of(built, blob) for blob in built.manifest.blobs() if blob != weights}
    assert texts == {blob["digest"]: blob["text"] for blob in VECTOR["blobs"] if "text" in blob}


def test_the_weights_are_served_as_they_lie_and_what_is_read_is_told(tmp_path: Path) -> None:
    put_weights(tmp_path / "w.gguf", 3_000_000)
    told: list[int] = []
    built = build(Modelfile.parse(b"FROM w.gguf"), tmp_path, None, told.append)
    weights = built.manifest.layers[0]
    data = (tmp_path / "w.gguf").read_bytes()
    assert weights.digest == Digest.of(data)
    assert sum(told) == weights.size == len(data)
    assert b"".join(built.open(NAME, weights, Span(2, 5)).stream) == data[2:7]
    with pytest.raises(NotFoundError):
        built.open(NAME, Descriptor("x/y", Digest.of(b"?"), 1), Span(0, 1))


def test_a_path_is_relative_to_the_modelfile_and_the_tilde_is_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    put_weights(home / "w.gguf", 10)
    digests = {
        build(Modelfile.parse(f"FROM {path}".encode()), tmp_path, home).manifest.digest
        for path in ("home/w.gguf", "./home/w.gguf", "~/w.gguf", home / "w.gguf", '"home/w.gguf"')
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("architecture", "renderer", "stop"),
    [
        ("gemma4", "gemma4", ["<turn|>"]),
        ("laguna", "laguna", None),
        ("nemotron_h_moe", "nemotron-3-nano", None),
    ],
)
def test_architectures_with_a_renderer_of_their_own_get_it(
    tmp_path: Path, architecture: str, renderer: str, stop: list[str] | None
) -> None:
    built = made(tmp_path, "FROM w.gguf", **{"general.architecture": architecture})
    assert built.manifest.config is not None
    config = json.loads(text_of(built, built.manifest.config))
    assert (config["renderer"], config["parser"]) == (renderer, renderer)
    params = [layer for layer in built.manifest.layers if layer.media_type.endswith(".params")]
    assert [json.loads(text_of(built, layer)) for layer in params] == ([{"stop": stop}] if stop else [])


def test_said_renderers_stops_and_versions_win(tmp_path: Path) -> None:
    text = "FROM w.gguf\nRENDERER mine\nPARAMETER stop x\nREQUIRES v0.14.0\n"
    built = made(tmp_path, text, **{"general.architecture": "gemma4"})
    assert built.manifest.config is not None
    assert text_of(built, built.manifest.config) == (
        '{"model_format":"gguf","model_family":"gemma4","model_families":["gemma4"],"model_type":"1K",'
        '"file_type":"F16","renderer":"mine","requires":"0.14.0","architecture":"amd64","os":"linux"}\n'
    )
    assert text_of(built, built.manifest.layers[-1]) == '{"stop":["x"]}\n'


@pytest.mark.parametrize(
    ("said", "shown"), [(1, "F16"), (7, "Q8_0"), (32, "BF16"), (0, "unknown"), (999, "unknown")]
)
def test_the_file_type_has_its_name(tmp_path: Path, said: int, shown: str) -> None:
    built = made(tmp_path, "FROM w.gguf", **{"general.file_type": said})
    assert built.manifest.config is not None
    assert json.loads(text_of(built, built.manifest.config))["file_type"] == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"), (999, "999"), (1000, "1K"), (1500, "2K"), (999_999, "1000K"), (1_000_000, "1M"),
        (22_565_376, "22.57M"), (999_999_999, "1000.00M"), (10**9, "1B"), (1_500_000_000, "1.5B"),
        (7_241_732_096, "7.2B"), (70 * 10**9, "70B"),
    ],
)  # fmt: skip
def test_numbers_of_parameters_are_shown_as_ollama_does(count: int, shown: str) -> None:
    assert human_number(count) == shown


def test_empty_texts_make_no_layer_but_an_empty_licence_does(tmp_path: Path) -> None:
    built = made(tmp_path, 'FROM w.gguf\nSYSTEM ""\nTEMPLATE ""\nLICENSE ""\n')
    kinds = [(layer.media_type.rpartition(".")[2], layer.size) for layer in built.manifest.layers[1:]]
    assert kinds == [("license", 0)]


def test_a_template_in_the_weights_is_told_about(tmp_path: Path) -> None:
    built = made(tmp_path, "FROM w.gguf", **{"tokenizer.chat_template": "{{ x }}"})
    assert "chat template" in built.warnings[0]
    assert made(tmp_path, "FROM w.gguf\nTEMPLATE y", **{"tokenizer.chat_template": "{{ x }}"}).warnings == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no FROM"),
        ("FROM w.gguf\nFROM w.gguf", "several FROM"),
        ("FROM w.gguf\nFROM llama3", "several FROM"),
        ("FROM w.gguf\nADAPTER a.gguf", "ADAPTER cannot"),
        ("FROM w.gguf\nDRAFT d.gguf", "DRAFT cannot"),
        ("FROM .", "is a directory"),
        ("FROM Modelfile", "not a GGUF file"),
        ("FROM w.gguf\nREQUIRES soon", "not a version"),
        ("FROM w.gguf\nPARAMETER top_k many", "not a whole number"),
    ],
)
def test_what_cannot_be_made_is_one_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "Modelfile").write_text("FROM x")
    with pytest.raises(InvalidError, match=words):
        made(tmp_path, text)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"general.type": "adapter"}, "is an adapter"),
        ({"general.type": "projector"}, "is a projector"),
        ({"general.type": "mmproj"}, "is a projector"),
        ({"bert.vision.block_count": 2}, "is a projector"),
        ({"general.architecture": "clip", "clip.has_vision_encoder": True}, "is a projector"),
        ({"general.architecture": "clip", "clip.has_audio_encoder": True}, "is a projector"),
        ({"split.count": 2}, "one part of a split model"),
    ],
)
def test_weights_that_need_company_are_refused(
    tmp_path: Path, metadata: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        made(tmp_path, "FROM w.gguf", **metadata)


def test_weights_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        build(Modelfile.parse(b"FROM ./nothing.gguf"), tmp_path)
