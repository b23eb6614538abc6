"""Pieces of partial data, made durable and noted in the journal: one thread syncs for all that wait."""

from __future__ import annotations

from registry.disk.coverage import Coverage
from registry.disk.data import DataFile
from registry.disk.files import sync_directory
from registry.disk.journal import Journal
from registry.disk.overlay import Overlay, OverlayJournal
from registry.disk.sums import Sum
from registry.errors import RegistryError


class BatchSync:
    """What was written to `data` and is not noted in `journal` yet."""

    def __init__(
        self, data: DataFile | Overlay, journal: Journal | OverlayJournal, coverage: Coverage
    ) -> None:
        self._data = data
        self._journal = journal
        self._coverage = coverage
        self._unsynced: list[Sum] = []
        self._syncing = False
        self._findable = False  # whether the files' names are durable

    def settle(self, piece: Sum) -> None:
        """Return when `piece` is durable and noted. StorageError."""
        changed = self._coverage.changed
        with changed:
            self._coverage.check()
            self._unsynced.append(piece)
            changed.wait_for(lambda: not self._syncing)
            self._coverage.check()
            if piece not in self._unsynced:
                return
            batch = self._next_batch()
        self._sync(batch)

    def drain(self) -> None:
        """Return when all is noted; the caller holds the coverage's lock, so that nothing new is."""
        self._coverage.changed.wait_for(lambda: not self._syncing)
        self._coverage.check()
        if self._unsynced:
            self._sync(self._next_batch())

    def _next_batch(self) -> list[Sum]:
        batch, self._unsynced = self._unsynced, []
        self._syncing = True
        return batch

    def _sync(self, batch: list[Sum]) -> None:
        noted = False
        try:
            self._data.sync_data()
            if not self._findable:
                sync_directory(self._data.path.parent)
                self._findable = True
            self._journal.add(batch)
            noted = True
        except RegistryError as error:
            self._coverage.broke(error)
            raise
        finally:
            with self._coverage.changed:
                self._syncing = False
                if noted:
                    self._coverage.keep(batch)
                self._coverage.changed.notify_all()
