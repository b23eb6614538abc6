"""A registry that gives the answers it was told to, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

ORIGIN = Origin("https", "models.example", 443)
NAME = Name.parse("models.example/acme/tiny:1")
BLOB = Descriptor("application/octet-stream", Digest.of(b"0123456789"), 10)


@dataclass
class Script:
    """A registry that gives the answers it was told to, the last one for ever."""

    answers: list[Response]
    asked: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        if not isinstance(request.body, bytes):
            for _ in request.body:
                pass
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(status: int = 200, body: bytes | list[bytes] = b"", **headers: str) -> Response:
    fields = Headers({key.replace("_", "-"): value for key, value in headers.items()})
    return Response(status, fields, body)


def remote(*answers: Response) -> Remote:
    return Remote(Peer(Script(list(answers)), ORIGIN, now=lambda: 1000.0))
