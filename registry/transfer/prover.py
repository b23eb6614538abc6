"""Hashing beside the workers: along the front of a blob, in a thread of its own."""

from __future__ import annotations

import threading

from registry.contracts import Intake


class Prover:
    """Runs `intake.prove` while workers write ahead of it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def outcome(self) -> None:
        """Wait for the end; raise what was found."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._intake.prove()
        except BaseException as error:  # noqa: BLE001 - raised by outcome, in the thread that asks
            self._error = error
