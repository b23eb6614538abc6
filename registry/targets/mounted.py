"""A blob that a registry took over from another of its repositories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.contracts import ChunkRules, How
from registry.errors import InvalidError
from registry.model.manifests import Descriptor
from registry.model.spans import Span, Spans
from registry.targets.proven_there import ProvenThere


@dataclass(frozen=True, slots=True)
class MountedIntake(ProvenThere):
    """Nothing is left to send, and nothing to prove."""

    blob: Descriptor
    how = How.MOUNTED

    @property
    def chunk_rules(self) -> ChunkRules:
        return ChunkRules(ordered=True, first=self.blob.size, least=0, most=self.blob.size)

    @property
    def received(self) -> Spans:
        return Spans.of([Span(0, self.blob.size)])

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        raise InvalidError("a mounted blob takes no bytes")

    def resume(self) -> None: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...
