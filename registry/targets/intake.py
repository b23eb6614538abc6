"""One blob on its way into the local store: partial data, and what the store does when it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from registry.contracts import Appetite, How
from registry.disk.partial import Partial
from registry.model.spans import Span, Spans


class StoreIntake:
    """Takes spans side by side, in any order.

    `name` gives the proven blob its name; `alive` is called whenever a span is there.
    """

    def __init__(
        self, partial: Partial, grain: int, name: Callable[[Partial], None], alive: Callable[[], None]
    ) -> None:
        self._partial = partial
        self._name = name
        self._alive = alive
        self.how = How.RESUMED if partial.received else How.FETCHED
        self.appetite = Appetite(ordered=False, first=grain, least=1, most=grain)

    @property
    def received(self) -> Spans:
        """What is there, from this run or an earlier one."""
        return self._partial.received

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """When it returns, the bytes survive whatever happens; when it breaks, what arrived is kept."""
        self._partial.write(span, chunks)
        self._alive()

    def resume(self) -> None:
        """`received` is always true here."""

    def prove(self) -> None:
        """Hash along the front. CorruptError."""
        self._partial.prove()

    def suspect(self) -> Spans:
        """Drop the spans whose bytes are no longer those that came."""
        damaged = self._partial.damaged()
        for span in damaged:
            self._partial.discard(span)
        return damaged

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Compare a second reading with what is here."""
        return self._partial.differs(span, chunks)

    def commit(self) -> None:
        """Name it. InvalidError if it was not proven, StorageError."""
        self._name(self._partial)
        self._partial.close()

    def close(self) -> None:
        """Let go; what was received stays."""
        self._partial.close()
