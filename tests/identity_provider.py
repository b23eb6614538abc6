"""An identity provider as CI systems have them: on a real socket, with its own keys; it can lie, and be down.

It answers discovery, keys, and (as a GitHub runner does) a job's question for an ID token.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/jwks"
ASK = "/token"  # where a runner lets its job ask
RUNNER = "runner-secret-of-this-job"  # what a job asks with
# What a job of the repository acme/ml at GitHub says of itself.
JOB = {
    "sub": "repo:acme/ml:ref:refs/heads/main",
    "repository": "acme/ml",
    "repository_id": "74",
    "repository_owner": "acme",
    "repository_owner_id": "65",
    "ref": "refs/heads/main",
    "event_name": "push",
    "workflow": "publish",
    "environment": "release",
}


@cache
def rsa_key(_number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key; the same one for the same number, because making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(_number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def described(name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """A key as a JSON Web Key Set has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}


def as_text(part: object) -> str:
    """A part of a token, unsigned."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@dataclass
class Provider:
    """What it shows and says; everything may be changed while it runs."""

    url: str = "https://ci.example"
    keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    shown: dict[str, Any] | bytes | None = None  # instead of its keys
    discovery: Mapping[str, Any] | bytes | None = None  # instead of its own
    status: int = 200
    down: bool = False
    asked: list[str] = field(default_factory=list)  # each path
    audiences: list[str] = field(default_factory=list)  # of the ID tokens that jobs asked for
    claims: dict[str, Any] = field(default_factory=lambda: dict(JOB))  # of this runner's job
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    hold: threading.Event | None = None  # nothing is answered until it is set
    now: Any = time.time

    def __post_init__(self) -> None:
        self.keys = self.keys or {"one": rsa_key()}

    def jwks(self) -> bytes:
        shown = self.shown
        if shown is None:
            shown = {"keys": [described(name, key) for name, key in self.keys.items()]}
        return shown if isinstance(shown, bytes) else json.dumps(shown).encode()

    def document(self) -> bytes:
        said = self.discovery
        if said is None:
            said = {"issuer": self.url, "jwks_uri": self.url + KEYS}
        return said if isinstance(said, bytes) else json.dumps(said).encode()

    def payload(self, audience: str, now: float | None = None, **claims: object) -> dict[str, object]:
        """The claims of a fresh token; None takes one away."""
        at = int(self.now() if now is None else now)
        times = {"iat": at, "nbf": at, "exp": at + 300}
        known = {"iss": self.url, "aud": audience, "jti": f"jti-{next(self.numbers)}", **times, **self.claims}
        return {name: value for name, value in {**known, **claims}.items() if value is not None}

    def token(self, audience: str, now: float | None = None, kid: str = "", **claims: object) -> str:
        """An ID token, signed by the key of that name, or the first one."""
        name = kid or next(iter(self.keys))
        key = self.keys[name]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        payload = self.payload(audience, now, **claims)
        return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": name})

    @property
    def environment(self) -> dict[str, str]:
        """What a GitHub runner tells its job."""
        asking = f"{self.url}{ASK}?api-version=2.0"
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": asking,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": RUNNER,
        }

    def answer(self, target: str, authorization: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        self.asked.append(parts.path)
        if self.hold is not None:
            self.hold.wait(30)
        if self.status != 200:
            return self.status, b"{}"
        if parts.path == DISCOVERY:
            return 200, self.document()
        if parts.path == KEYS:
            return 200, self.jwks()
        if parts.path == ASK and authorization == f"Bearer {RUNNER}":
            audience = parse_qs(parts.query).get("audience", [""])[0]
            self.audiences.append(audience)
            return 200, json.dumps({"value": self.token(audience)}).encode()
        return (401 if parts.path == ASK else 404), b"{}"


@contextlib.contextmanager
def provider(now: Any = time.time, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """One that listens on this machine while the block lasts."""
    here = Provider(now=now)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if here.down:
                self.close_connection = True
                return
            status, body = here.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    here.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        if here.hold is not None:
            here.hold.set()
        server.shutdown()
        server.server_close()
