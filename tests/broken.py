"""A disk that refuses."""

from __future__ import annotations

import os

from registry.disk.system import System


class Broken(System):
    """A disk that answers some calls with an error, from the `after`th such call on."""

    def __init__(self, call: str, number: int, after: int = 0) -> None:
        self._call, self._number, self._after = call, number, after

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "_call"):
            self._after -= 1
            if self._after < 0:
                raise OSError(self._number, os.strerror(self._number))
        return object.__getattribute__(self, name)
