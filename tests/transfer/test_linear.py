"""Bookkeeping costs the same for the last span of a blob as for the first, however many spans there are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from faults import NAME, NoRanges, Wrapped
from sample_models import Model

from registry.contracts import ChunkRules, How, Intake, Reading
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest, image
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.memory import Memory
from registry.transfer.copy import copy
from registry.transfer.options import Options

UNIT = 16
COUNTED = ("/registry/transfer/", "/registry/model/spans.py")


@dataclass
class Steps:
    """Counts the lines that worker threads run in the rooms that keep books."""

    lines: int = 0

    def __enter__(self) -> Steps:
        threading.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        threading.settrace(None)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if any(place in frame.f_code.co_filename for place in COUNTED) else None

    def _line(self, _frame: FrameType, _event: str, _argument: Any) -> Any:
        self.lines += 1
        return self._line


@dataclass
class Holes:
    """An intake that has every other unit of a blob already."""

    blob: Descriptor
    how: How = How.RESUMED
    chunk_rules: ChunkRules = field(default_factory=lambda: ChunkRules(False, UNIT, 1, UNIT))
    written: int = 0

    @property
    def received(self) -> Spans:
        return Spans(tuple(Span(at, UNIT) for at in range(0, self.blob.size, 2 * UNIT)))

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        self.written += sum(len(chunk) for chunk in chunks)

    def resume(self) -> None: ...

    def prove(self) -> None: ...

    def suspect(self) -> Spans:
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        return False

    def commit(self) -> None: ...

    def close(self) -> None: ...


class Zeros(Wrapped):
    """A source of one model of zeros."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(Memory())
        self._manifest = manifest

    def resolve(self, name: Name) -> Manifest:
        return self._manifest

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        return Reading(span, _Zeros(span.length))


@dataclass
class _Zeros:
    length: int

    def __iter__(self) -> Any:
        return iter([bytes(self.length)])

    def close(self) -> None: ...


class Nowhere(Wrapped):
    """A destination that has half of each blob."""

    intake: Holes

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
        if blob.size < 100:
            return None
        self.intake = Holes(blob)
        return self.intake

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None: ...


def steps(spans: int, *, ranges: bool) -> int:
    """How many lines run until so many spans have been moved."""
    config = Model.of().manifest.config
    assert config is not None
    blob = Descriptor("application/octet-stream", Digest.of(b"never looked at"), 2 * UNIT * spans)
    source = Zeros(image(config, [blob.as_json()]))
    there = Nowhere(Memory())
    with Steps() as counted:
        copy(source if ranges else NoRanges(source), there, NAME, options=Options(jobs=1))
    assert there.intake.written == UNIT * spans
    return counted.lines


@pytest.mark.parametrize("ranges", [True, False])
def test_twice_the_spans_cost_twice_the_steps(ranges: bool) -> None:
    """419 GB in 25,000 spans: what looked through all of them at each step cost minutes."""
    assert sys.gettrace() is None
    once, twice = steps(300, ranges=ranges), steps(600, ranges=ranges)

    assert once > 300
    assert twice < 2.5 * once
