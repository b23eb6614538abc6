"""What a registry proves itself: nothing of ours can be hashed, or looked at again."""

from __future__ import annotations

from collections.abc import Iterable

from registry.model.spans import Span, Spans


class ProvenThere:
    """The part of an intake that is about proving, where the registry does that when the blob is closed."""

    __slots__ = ()

    def prove(self) -> None:
        """Nothing is hashed here."""

    def suspect(self) -> Spans:
        """Nothing of ours can have been damaged."""
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Nothing of ours can be compared."""
        return False
