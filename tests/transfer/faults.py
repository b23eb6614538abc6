"""Faults as small wrappers around a target: each breaks one promise of a peer, in one way."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sample_models import GRAIN, Model, put

from registry.contracts import BusyElsewhere, ChunkRules, Intake, Reading, Target
from registry.errors import TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory, MemoryIntake
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule


@dataclass
class Wrapped:
    """A target that passes everything on."""

    inner: Target

    def resolve(self, name: Name) -> Manifest:
        return self.inner.resolve(name)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        return self.inner.open(name, blob, span)

    def prepare(self, name: Name, manifest: Manifest) -> None:
        self.inner.prepare(name, manifest)

    def size(self, name: Name, blob: Descriptor) -> int | None:
        return self.inner.size(name, blob)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        return self.inner.receive(name, blob, near)

    def current(self, name: Name) -> Digest | None:
        return self.inner.current(name)

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        self.inner.publish(name, manifest, was)

    def tags(self, name: Name) -> Iterator[str]:
        return self.inner.tags(name)


@dataclass
class Chunks:
    """A stream over a list or generator."""

    chunks: Iterator[bytes]
    closed: bool = False

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed = True


@dataclass
class Counted(Wrapped):
    """Remembers every span that was opened."""

    opened: list[tuple[Descriptor, Span]] = field(default_factory=list)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        self.opened.append((blob, span))
        return self.inner.open(name, blob, span)

    @property
    def bytes_opened(self) -> int:
        return sum(span.length for _, span in self.opened)


@dataclass
class Breaking(Wrapped):
    """Streams that break off after some bytes, `faults` times."""

    chance: random.Random = field(default_factory=random.Random)
    faults: int = 10

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        reading = self.inner.open(name, blob, span)
        if not self.faults:
            return reading
        self.faults -= 1
        return Reading(reading.span, Chunks(self._broken(reading, self.chance.randrange(span.length + 1))))

    def _broken(self, reading: Reading, after: int) -> Iterator[bytes]:
        for chunk in reading.stream:
            if len(chunk) > after:
                yield chunk[:after]
                raise TransientError("connection reset", answered=True)
            after -= len(chunk)
            yield chunk
        raise TransientError("connection reset", answered=True)


@dataclass
class NoRanges(Wrapped):
    """A registry that answers every range with the whole blob."""

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        return self.inner.open(name, blob, Span(0, blob.size))


@dataclass
class ShortAnswers(Wrapped):
    """A registry that sends at most `most` bytes an answer, and says so."""

    most: int = 1000

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        return self.inner.open(name, blob, Span(span.offset, min(span.length, self.most)))


@dataclass
class Flipping(Wrapped):
    """Flips one bit at `at` in the first `times` readings that pass it."""

    at: int = 0
    times: int = 1

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        reading = self.inner.open(name, blob, span)
        return Reading(reading.span, Chunks(self._flipped(reading)))

    def _flipped(self, reading: Reading) -> Iterator[bytes]:
        offset = reading.span.offset
        for chunk in reading.stream:
            if self.times and offset <= self.at < offset + len(chunk):
                self.times -= 1
                spoiled = bytearray(chunk)
                spoiled[self.at - offset] ^= 1
                yield bytes(spoiled)
            else:
                yield chunk
            offset += len(chunk)


@dataclass
class Ordered(Wrapped):
    """A place in memory that takes blobs in order, `most` bytes a write; `taking` is what a write does."""

    taking: Callable[[Span, Iterable[bytes]], None] = lambda _span, _chunks: None
    most: int = GRAIN

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        intake = self.inner.receive(name, blob, near)
        if isinstance(intake, MemoryIntake):
            intake.chunk_rules = ChunkRules(True, self.most, 1, self.most)

            def write(span: Span, chunks: Iterable[bytes]) -> None:
                self.taking(span, chunks)

            intake.write = write  # type: ignore[method-assign]
        return intake


@dataclass
class Time:
    """A clock that only sleeping moves, for all threads alike."""

    now: float = 1000.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        with self.lock:
            self.now += seconds
        return False


NAME = Name.parse("models.example/acme/tiny:1")
QUICK = Rule(give_up_after=5, first_pause=0.001, longest_pause=0.01)


def quick(**options: object) -> Options:
    return Options(patience=lambda: Patience(QUICK), **options)  # type: ignore[arg-type]


def filled(model: Model, name: Name = NAME) -> Memory:
    memory = Memory(grain=GRAIN)
    put(memory, name, model)
    return memory
