"""What a transfer tells its observer. Numbers are bytes and never run backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name


@dataclass(frozen=True, slots=True)
class BlobReport:
    """What became of one blob: `transferred` counts the bytes moved in this run."""

    blob: Descriptor
    transferred: int
    how: How


def replaced(reports: Sequence[BlobReport], again: Sequence[BlobReport]) -> list[BlobReport]:
    """`reports`, with those of blobs that had to move `again` in their places."""
    newer = {report.blob.digest: report for report in again}
    return [newer.get(report.blob.digest, report) for report in reports]


@dataclass(frozen=True, slots=True)
class Report:
    """What a copy did. `size` is the model's, `transferred` what moved in this run, in bytes.

    `was` is the digest that the name stood for before, None if for nothing.
    """

    name: Name
    manifest: Manifest
    seconds: float
    blobs: tuple[BlobReport, ...]
    was: Digest | None = None

    @property
    def size(self) -> int:
        """The model's size: the sum of its distinct blobs."""
        return sum(item.blob.size for item in self.blobs)

    @property
    def transferred(self) -> int:
        """The bytes that moved in this run."""
        return sum(item.transferred for item in self.blobs)


class Observer(Protocol):
    """Watches copies. Calls come from several threads, for each model one at a time, and must return quickly.

    `name` is what the model is called at its destination: two that are on their way may share a blob.
    """

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
        """The manifest is known: these blobs make up the model."""

    def at(self, name: Name, blob: Descriptor, done: int) -> None:
        """`done` bytes of the blob are there; starts at what was there before this run."""

    def done(self, name: Name, blob: Descriptor, how: How) -> None:
        """The blob is at its destination, proven."""

    def note(self, text: str) -> None:
        """Something a patient person would like to know: a pause, a retry, whose progress is followed."""

    def end(self, report: Report) -> None:
        """The name is published."""


class Silent:
    """Watches nothing."""

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None: ...

    def at(self, name: Name, blob: Descriptor, done: int) -> None: ...

    def done(self, name: Name, blob: Descriptor, how: How) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self, report: Report) -> None: ...
