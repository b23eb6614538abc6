"""`ferry show` looks into the weights, whatever they are."""

from __future__ import annotations

import random
import re
import struct

import pytest
from person import Ferry
from stored_models import put_model

from registry.publish.writer import tiny


def test_weights_that_are_missing_or_something_else_are_no_failure(ferry: Ferry) -> None:
    weights = b"safetensors, say"
    put_model(ferry.models, weights=weights)
    told = ferry("show", "tiny", "--format", "json").well()
    assert told.json["weights"]["error"]["class"] == "InvalidError"
    assert "cannot be looked into: it is not a GGUF file" in told.err

    next(path for path in (ferry.models / "blobs").iterdir() if path.stat().st_size == len(weights)).unlink()

    assert "cannot be looked into" in ferry("show", "tiny").well().err
    told = ferry("show", "tiny", "--format", "json").well()
    assert told.json["weights"]["error"]["class"] == "NotFoundError"
    assert told.json["layers"], "all else is told"


@pytest.mark.seeds(2)
def test_hostile_weights_paint_nothing_and_harm_nothing(ferry: Ferry, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(tiny())
    for _ in range(chance.randrange(1, 40)):
        at = chance.randrange(min(len(data), 2000))
        data[at : at + 8] = chance.choice([struct.pack("<Q", 2**63), b"\x1b[31m\r\n\0", chance.randbytes(8)])
    put_model(ferry.models, weights=bytes(data))

    done = ferry("show", "tiny").well()

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.out + done.err)
