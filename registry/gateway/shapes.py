"""How a refusal looks to the three kinds of programs that come: Ollama's, OpenAI's, Anthropic's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum

from registry.wire.faults import said
from registry.wire.headers import Headers
from registry.wire.messages import Response

_JSON = ("Content-Type", "application/json")
# Status -> the word for it in OpenAI's documents (type, code) and in Anthropic's.
_KINDS: Mapping[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request", "invalid_request_error"),
    401: ("authentication_error", "invalid_api_key", "authentication_error"),
    403: ("permission_error", "forbidden", "permission_error"),
    404: ("invalid_request_error", "model_not_found", "not_found_error"),
    405: ("invalid_request_error", "method_not_allowed", "invalid_request_error"),
    408: ("invalid_request_error", "timeout", "invalid_request_error"),
    413: ("invalid_request_error", "request_too_large", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type", "invalid_request_error"),
    429: ("rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
    501: ("invalid_request_error", "unsupported", "invalid_request_error"),
}
_OTHER = ("api_error", "server_error", "api_error")


class Shape(Enum):
    """Whose documents a program reads."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"

    @classmethod
    def of(cls, path: str) -> Shape:
        """Of the programs that ask for `path`."""
        if path == "/v1/messages" or path.startswith("/v1/messages/"):
            return cls.ANTHROPIC
        return cls.OPENAI if path.startswith("/v1/") else cls.OLLAMA

    def refusal(
        self, status: int, sentence: str, *, signin_url: str = "", headers: Mapping[str, str] | None = None
    ) -> Response:
        """A refusal in one sentence; `signin_url` is the page where the person signs in."""
        kind, code, anthropic = _KINDS.get(status, _OTHER)
        document: dict[str, object]
        match self:
            case Shape.OLLAMA:
                document = {"error": sentence}
            case Shape.OPENAI:
                document = {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
            case Shape.ANTHROPIC:
                document = {"type": "error", "error": {"type": anthropic, "message": sentence}}
        if signin_url:
            document["signin_url"] = signin_url
            if self is Shape.OLLAMA:  # its own client shows the sentence of a 401 only when it has this name
                document["status"] = sentence
        fields = Headers((_JSON, *(headers or {}).items()))
        return Response(status, fields, json.dumps(document).encode() + b"\n")

    def told(self, document: Response) -> Response:
        """What the listener has to say of its own, as these programs read it."""
        assert isinstance(document.body, bytes)
        later = document.headers.get("Retry-After")
        words = said(document.body).partition(" ")[2]
        return self.refusal(document.status, words, headers={"Retry-After": later} if later else None)


def document(value: object) -> Response:
    """An answer of the gateway's own."""
    return Response(200, Headers((_JSON,)), json.dumps(value).encode() + b"\n")
