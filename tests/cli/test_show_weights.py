"""`ferry show` looks into the weights, here and at a registry alike."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator

import pytest
from peers import Registry, ferry_server
from person import Ferry
from shelf import put_model

from registry.publish.writer import tiny


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with ferry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


def test_the_same_facts_here_and_there_for_a_few_hundred_kilobytes(ferry: Ferry, registry: Registry) -> None:
    name = f"{registry.host}/acme/tiny:1.0"
    put_model(ferry.models, name.replace(":1.0", "/1.0"), tiny() + bytes(8 * 1024 * 1024))
    here = ferry("show", name, "--format", "json").well().json["weights"]
    ferry("push", name).well()

    there = ferry("show", "--remote", name, "--format", "json", "--debug").well()

    assert there.json["weights"] == here
    assert (here["architecture"], here["quantization"]) == ("llama", "F16")
    assert here["parameters"] > 0 and here["tensors"] > 0 and here["context_length"] > 0
    assert "context length" in ferry("show", "--remote", name).well().out


def test_weights_that_are_missing_or_something_else_are_no_failure(ferry: Ferry) -> None:
    weights = b"safetensors, say"
    put_model(ferry.models, weights=weights)
    assert "weights" not in ferry("show", "tiny", "--format", "json").well().json

    next(path for path in (ferry.models / "blobs").iterdir() if path.stat().st_size == len(weights)).unlink()

    assert "cannot be looked into" in ferry("show", "tiny").well().err


@pytest.mark.seeds(6)
def test_hostile_weights_paint_nothing_and_harm_nothing(ferry: Ferry, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(tiny())
    for _ in range(chance.randrange(1, 40)):
        at = chance.randrange(min(len(data), 2000))
        data[at : at + 8] = chance.choice([struct.pack("<Q", 2**63), b"\x1b[31m\r\n\0", chance.randbytes(8)])
    put_model(ferry.models, weights=bytes(data))

    done = ferry("show", "tiny").well()

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.out + done.err)
