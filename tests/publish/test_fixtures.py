"""The model in `fixtures/` is what its README says."""

from __future__ import annotations

from pathlib import Path

import gguf as reference
import models
import numpy as np
import pytest

from registry.publish import gguf
from registry.publish.build import build
from registry.publish.modelfile import Modelfile

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_the_small_model_is_made_by_the_command_that_is_given(tmp_path: Path) -> None:
    models.write(tmp_path / "again.gguf", models.bytes_of("300K"))
    small = (FIXTURES / "tiny.gguf").read_bytes()
    assert len(small) < 1_000_000
    assert (tmp_path / "again.gguf").read_bytes() == small


def test_its_modelfile_makes_a_model() -> None:
    built = build(Modelfile.parse((FIXTURES / "Modelfile").read_bytes()), FIXTURES)
    kinds = [layer.media_type.rpartition(".")[2] for layer in built.manifest.layers]
    assert kinds == ["model", "template", "system", "license", "params"]


@pytest.mark.parametrize("kind", models.TYPES)
@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_models_of_any_size_are_genuine_and_gaussian(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "weights.gguf"
    models.write(path, size, kind)
    assert abs(path.stat().st_size - size) < 0.15 * size
    read = reference.GGUFReader(path)
    tensor = read.tensors[1]
    numbers = reference.dequantize(tensor.data, tensor.tensor_type)
    assert abs(float(np.std(numbers)) - 0.02) < 0.002
    with path.open("rb") as file:
        head = gguf.read(file, path.stat().st_size)
    assert head.elements == sum(int(each.n_elements) for each in read.tensors)
    assert head.file_type == models.TYPES[kind][1]
