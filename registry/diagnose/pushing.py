"""The hop that only a push takes: an upload is begun, some bytes are sent, and it is cancelled."""

from __future__ import annotations

from dataclasses import dataclass

from registry.diagnose.findings import Finding, note, ok
from registry.errors import ProtocolError, Reason, RegistryError
from registry.model.names import Name
from registry.targets.access import writing
from registry.targets.peer import Peer
from registry.wire import routes
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

_MIB = 1024 * 1024
_SIZES = (
    2,
    1,
)  # MiB: more than nginx lets pass unless it is told, and the least that a transfer goes down to
_TOO_LARGE = 413
_TAKEN = (200, 201, 202, 204)


@dataclass(frozen=True, slots=True)
class Pushing:
    """Whether `peer` takes bytes for `name`; nothing of them stays there, but where it cancels no uploads."""

    peer: Peer
    name: Name

    def upload(self) -> Finding:
        """Errors as those of an upload: DeniedError, ProtocolError, TransientError, StorageError."""
        path = routes.uploads(self.name.repository)
        begun = self.peer.ask("POST", path, self._doing, ok=(202,), access=writing(self.name))
        location = self._following(begun, f"{self.peer.origin}{path}")
        refused = 0
        try:
            for size in _SIZES:
                answer = self._ask("PATCH", location, bytes(size * _MIB))
                if answer.status in _TAKEN:
                    location = self._following(answer, location)
                    break
                if answer.status != _TOO_LARGE:
                    raise self.peer.error_of(
                        self.peer.refusal(answer, self._doing), self._doing, writing=True
                    )
                answer.close()
                refused = size
            else:
                raise self._limit(refused)
        finally:
            cancelled = self._cancel(location)
        took = f"{self.peer.host} took {size} MiB of an upload, which {cancelled}"
        if refused:
            error = self._limit(refused)
            return note("upload", f"{error.message}; {took}: a push goes in small pieces", error)
        return ok("upload", took)

    @property
    def _doing(self) -> str:
        return f"uploading to {self.name.repository}"

    def _ask(self, method: str, url: str, body: bytes = b"") -> Response:
        headers = Headers({"Content-Type": "application/octet-stream"} if body else {})
        return self.peer.transport(Request(method, url, headers, body, access=writing(self.name)))

    def _following(self, answer: Response, base: str) -> str:
        """Where the upload goes on."""
        answer.close()
        said = answer.headers.get("Location") or answer.headers.get("Docker-Upload-Location")
        return self.peer.locate(said or base, base, self._doing)

    def _cancel(self, location: str) -> str:
        """How that went, as the end of a sentence."""
        try:
            answer = self._ask("DELETE", location)
        except RegistryError:
            return "was left behind: it could not be cancelled"
        answer.close()
        return "was cancelled" if answer.status in _TAKEN else "it does not cancel: it will end by itself"

    def _limit(self, size: int) -> ProtocolError:
        message = f"the proxy or registry at {self.peer.host} takes no body of {size} MiB (413)"
        return ProtocolError(message, host=self.peer.host, reason=Reason.BODY_LIMIT)
