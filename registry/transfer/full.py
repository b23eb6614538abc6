"""Destinations that are full: what needs as many bytes there is not begun, for they would move in vain."""

from __future__ import annotations

import threading

from registry.errors import Reason, Side, StorageError
from registry.model.manifests import Descriptor
from registry.model.names import Name

_Scope = tuple[str, str]  # a host and a namespace there, "" for all of them


class FullDestinations:
    """Those that the copies of one engine came upon. Safe from many threads.

    A disk is full for a whole registry; a quota may be that of one namespace. What is smaller than all that
    was refused may fit still.
    """

    def __init__(self) -> None:
        self._refused: dict[_Scope, StorageError] = {}
        self._lock = threading.Lock()

    def hear(self, to: Name, error: BaseException) -> None:
        """Of an error that ended a transfer to `to`, learn whether there was no room."""
        if not isinstance(error, StorageError) or error.reason is not Reason.REGISTRY_FULL:
            return
        whole, namespace = _scopes(to)
        scope = namespace if error.quota else whole
        with self._lock:
            known = self._refused.get(scope)
            if known is None or error.length < known.length:
                self._refused[scope] = error

    def check(self, to: Name, blob: Descriptor, length: int) -> None:
        """StorageError where `length` bytes of a blob are no fewer than what was refused."""
        for scope in _scopes(to):
            refused = self._refused.get(scope)
            if refused is not None and length >= refused.length:
                raise _another(refused, to, blob)

    def forget(self) -> None:
        """Somebody may have made room since."""
        with self._lock:
            self._refused.clear()


def _scopes(to: Name) -> tuple[_Scope, _Scope]:
    """All of its registry, and its namespace there."""
    return (to.host, ""), (to.host, to.repository.partition("/")[0])


def _another(refused: StorageError, to: Name, blob: Descriptor) -> StorageError:
    """The same for another blob."""
    error = StorageError(
        f"uploading blob {blob.digest.short} to {to}: not begun: "
        f"{to.host} has no space left, or a quota is used up there",
        reason=refused.reason,
        host=refused.host,
        length=refused.length,
        quota=refused.quota,
    )
    error.side = Side.DESTINATION
    return error
