"""A pretend ollama.com: its cloud API on a spy, which checks every signature and waits where told to."""

from __future__ import annotations

import base64
import json
import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from spy import Seen, Spy, Talk, reply

DIGEST = "ab" * 32
MODELS = ("gpt-oss:120b", "qwen3-coder:480b", "kimi-k2")
Part = bytes | threading.Event
"""A piece of an answer's body, or what is waited for before the next one."""

_CONTENT = {"generate": "response", "chat": "message"}


@dataclass
class Cloud:
    """`answers` says what a path is answered instead of the usual: bytes, the parts of a streamed 200, or
    what is waited for before anything is answered.

    `keys` are the public keys that are connected, `api_keys` those that are good, `spent` those of both that
    are answered 429. `gone` is set when a caller leaves while a part is waited for.
    """

    keys: set[str] = field(default_factory=set)
    api_keys: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    answers: dict[str, bytes | Sequence[Part] | threading.Event] = field(default_factory=dict)
    forged: list[str] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.spy = Spy((self._script,))

    def __enter__(self) -> Cloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.spy.__exit__()

    @property
    def asked(self) -> list[Seen]:
        """What it was asked, but for the catalogue."""
        return [seen for seen in self.spy.seen if not seen.target.startswith("/api/tags")]

    def _script(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        path = urlsplit(seen.target).path
        answer: bytes | Sequence[Part] | threading.Event
        if path == "/api/tags":
            answer = self.answers.get(path) or _json({"models": [_listed(name) for name in MODELS]})
        else:
            answer = self._refusal(seen) or self.answers.get(path) or _usual(path, seen)
        if isinstance(answer, bytes):
            talk.send(answer)
            if b"\r\nConnection: close" in answer:
                talk.socket.close()
        elif isinstance(answer, threading.Event):
            self._waited(talk, answer)
            talk.socket.close()
        else:
            kind = b"text/event-stream" if path.startswith("/v1/") else b"application/x-ndjson"
            self._stream(talk, answer, kind)

    def _stream(self, talk: Talk, parts: Sequence[Part], kind: bytes) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %s\r\n\r\n" % kind)
        for part in parts:
            if isinstance(part, bytes):
                talk.send(b"%x\r\n%s\r\n" % (len(part), part))
            elif not self._waited(talk, part):
                talk.socket.close()
                return
        talk.send(b"0\r\n\r\n")

    def _waited(self, talk: Talk, event: threading.Event) -> bool:
        """Whether it came while the caller was there."""
        self.waits.set()
        while not event.wait(0.005):
            ready, _, _ = select.select([talk.socket], [], [], 0)
            try:
                if ready and not talk.socket.recv(1, socket.MSG_PEEK):
                    raise ConnectionResetError
            except OSError:
                self.gone.set()
                return False
        return True

    def _refusal(self, seen: Seen) -> bytes | None:
        who = self._who(seen)
        if who in self.spent:
            return reply(429, b'{"error":"weekly limit reached"}', Retry_After="1200")
        if who in self.keys or who in self.api_keys:
            return None
        body = json.dumps({"error": f"unauthorized {who}"}).encode()  # some repeat what they were sent
        return reply(401, body, Content_Type="application/json")

    def _who(self, seen: Seen) -> str:
        """The API key, or the key that signed this very request; "" for nobody."""
        given = seen.header("Authorization") or ""
        if given.startswith("Bearer "):
            return given.removeprefix("Bearer ")
        key, colon, signature = given.partition(":")
        if not colon:
            return ""
        sent = parse_qs(urlsplit(seen.target).query)
        try:
            raw = base64.b64decode(key)[-32:]
            text = f"{seen.method},{seen.target}"
            Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature), text.encode())
        except (InvalidSignature, ValueError):
            self.forged.append(seen.target)
            return ""
        if abs(int(sent["ts"][0]) - time.time()) > 300:
            self.forged.append(seen.target)
        return key


def _listed(name: str) -> dict[str, object]:
    return {"name": name, "model": name, "modified_at": "2026-01-02T03:04:05Z", "size": 65, "digest": DIGEST}


def _usual(path: str, seen: Seen) -> bytes | Sequence[Part]:
    """What ollama.com would say, more or less."""
    if path == "/api/me":
        return _json(
            {"id": "6c2b27b5-6e3b-4be6-a1f7-5d9f3d1c0c5e", "name": "ada", "email": "ada@example.com"}
        )
    if path == "/api/show":
        details = {"family": "gptoss", "parameter_size": "120B", "quantization_level": "MXFP4"}
        return _json({"details": details, "model_info": {}, "capabilities": ["completion", "tools"]})
    if path.startswith("/api/user/keys/"):
        return reply(204)
    asked: dict[str, Any] = json.loads(seen.body or b"{}") if seen.header("Content-Encoding") is None else {}
    model = asked.get("model", "?")
    kind = _CONTENT.get(path.rpartition("/")[2])
    if kind is None:
        return _json({"path": path, "model": model})
    lines = [
        {
            "model": model,
            "created_at": "2026-01-02T03:04:05Z",
            "done": word is None,
            **_said(kind, word or ""),
        }
        for word in ("Good", " morning", None)
    ]
    if asked.get("stream") is False:
        return _json({**lines[-1], **_said(kind, "Good morning")})
    return [json.dumps(line).encode() + b"\n" for line in lines]


def _said(kind: str, word: str) -> dict[str, object]:
    return {kind: word if kind == "response" else {"role": "assistant", "content": word}}


def _json(value: object) -> bytes:
    return reply(200, json.dumps(value).encode(), Content_Type="application/json")
