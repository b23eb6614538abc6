"""The end of a blob's transfer: it is proven and named; one that turns out wrong is mended once."""

from __future__ import annotations

from registry.errors import CorruptError, Side
from registry.model.manifests import Descriptor
from registry.model.spans import Span, Spans
from registry.transfer.model import ModelTransfer
from registry.transfer.mover import Mover
from registry.transfer.prover import Prover

_CHANCES = 2  # a blob that turns out wrong is mended once


class Finish:
    """Proves and commits what `mover` moved; `prover` hashed it meanwhile, if there is one."""

    def __init__(self, model: ModelTransfer, blob: Descriptor, mover: Mover, prover: Prover | None) -> None:
        self._model = model
        self._blob = blob
        self._mover = mover
        self._intake = mover.intake
        self._prover = prover
        self._moved_again = Spans()

    def run(self) -> None:
        """Give the blob its name. CorruptError if it stays wrong; TransientError at the end of patience."""
        for chance in range(1, _CHANCES + 1):
            try:
                self._prove()
                self._commit()
            except CorruptError as error:
                if chance == _CHANCES or not self._mend():
                    raise self._beyond_mending(error) from error
            else:
                return

    def _prove(self) -> None:
        prover, self._prover = self._prover, None
        if prover is None:
            self._intake.prove()
        else:
            prover.outcome()

    def _commit(self) -> None:
        """Give the blob its name; after a failure, find out first whether it has it."""
        model = self._model
        broke = False

        def attempt() -> None:
            nonlocal broke
            if broke:
                if model.destination.size(model.to, self._blob) is not None:
                    return
                self._mover.look()
                self._mover.move_missing_once()
            broke = True
            self._intake.commit()

        model.patience.retry(attempt, Side.DESTINATION)

    def _mend(self) -> bool:
        """Move again what is wrong, and only that. False if nothing can be found wrong on this side."""
        model, size = self._model, self._blob.size
        model.observer.note(f"blob {self._blob.digest.short}: what arrived is not the blob; finding out why")
        whole = Span(0, size)
        model.patience.retry(self._intake.resume, Side.DESTINATION)
        self._intake.suspect()
        if not self._intake.received.missing(size):
            self._mover.reader.leave()  # what another source has is the better witness
            for piece in whole.cut(self._mover.pending.sizes.grain):
                self._mover.compare(piece)
        self._moved_again = self._intake.received.missing(size)
        if not self._moved_again:
            return False
        self._mover.kept.begin_anew(self._intake.received.total)
        self._mover.move_missing()
        return True

    def _beyond_mending(self, error: CorruptError) -> CorruptError:
        tried = "a second reading was the same in every span"
        if self._moved_again:
            tried = f"bytes {self._moved_again} were moved once more, and it is wrong still"
        name = self._model.name
        return CorruptError(
            f"blob {self._blob.digest} of {name}: {error.message}; {tried}",
            host=error.host or name.host,
            name=str(name),
            reason=error.reason,
            hint=error.hint or "the source holds a damaged blob; what was proven stays, try again later",
        )
