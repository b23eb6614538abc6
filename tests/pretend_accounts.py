"""A pretend registry with accounts: the account API of `ferry serve` as it is agreed, in memory, on a spy.

It lets whoever calls it be told what a real one tells, and remembers every byte that it was sent.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from spy import Seen, Spy, Talk, reply

from registry.auth import api_keys, signing
from registry.auth.keys import PublicKey
from registry.errors import DeniedError

CODE = "BCDF-GHJK"
DAY = 86400


@dataclass
class Credential:
    """One of an account: a machine's key (`public`) or an API key (`secret`)."""

    id: str
    user: str
    kind: str
    note: str = ""
    scopes: list[str] = field(default_factory=list)
    public: str = ""
    secret: str = ""
    old: str = ""
    revoked: bool = False

    @property
    def document(self) -> dict[str, Any]:
        shown = PublicKey.parse(self.public).fingerprint if self.public else api_keys.last_four(self.secret)
        return {
            "id": self.id,
            "kind": self.kind,
            "note": self.note,
            "scopes": self.scopes,
            "created": "2026-01-01T00:00:00Z",
            "expires": "2026-04-01T00:00:00Z" if self.secret else None,
            "last_used": None,
            "shown": shown,
            "state": "revoked" if self.revoked else "active",
        }


class PretendAccounts:
    """The registry; `spy` keeps what it was sent. With `ollama` it is ollama.com."""

    def __init__(self, *, ollama: ssl.SSLContext | None = None, code: str = CODE) -> None:
        """`ollama`: it is a proxy that leads to https://ollama.com, with this certificate."""
        self.spy = Spy((self._script,))
        self.credentials: list[Credential] = []
        self.tokens: dict[str, Credential] = {}
        self.ollama = ollama
        self.code = code
        self.pages = True
        self.asked_me = threading.Event()
        self.busy = 0  # how many of the next requests of `/api/me` are answered 503
        self.was_busy = threading.Event()
        self.clock_is_off = False
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        return self.spy.netloc

    def __enter__(self) -> PretendAccounts:
        return self

    def __exit__(self, *_: object) -> None:
        self.spy.__exit__()

    ada, ben = "ada", "ben"

    def revoked(self, credential: Credential) -> bool:
        return credential.revoked

    # --- what a test does behind the registry's back ----------------------------------------------------

    def approve(self, key: PublicKey, user: str) -> Credential:
        """A person approves the key in a browser."""
        with self._lock:
            made = Credential(f"m{len(self.credentials)}", user, "machine", "laptop", public=key.text)
            self.credentials.append(made)
        return made

    def make_api_key(self, user: str, scopes: list[str] | None = None, note: str = "") -> Credential:
        with self._lock:
            secret = api_keys.make(os.urandom(32))
            made = Credential(f"k{len(self.credentials)}", user, "api", note, scopes or [], secret=secret)
            self.credentials.append(made)
        return made

    # --- what it answers ----------------------------------------------------------------------------

    def _script(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if seen.method == "CONNECT" and self.ollama:
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
            talk.encrypt(self.ollama)
            return
        with self._lock:
            answer = self._answer(seen)
        if seen.target.startswith("/api/me"):
            self.asked_me.set()
        talk.send(answer)

    def _answer(self, seen: Seen) -> bytes:
        path = urlsplit(seen.target).path
        if path == "/api/me" and self.busy:
            self.busy -= 1
            self.was_busy.set()
            return reply(503, b"busy")
        if path == "/api/me":
            return self._me(seen)
        if path == "/connect":
            return reply(200, b"<html>") if self.pages else reply(404)
        if self.ollama:
            return self._ollama(seen, path)
        if path == "/v2/token":
            return self._token(seen)
        if path == "/v2/":
            return reply(200, b"{}") if self._who(seen) else self._challenge("")
        return self._account(seen, path)

    def _me(self, seen: Seen) -> bytes:
        header = seen.header("Authorization") or ""
        if header.startswith("Bearer "):
            credential = self._by_secret(header.removeprefix("Bearer "))
            return self._named(credential) if credential else as_json(401, error="unauthorized")
        key = signer(seen)
        if key is None:
            return as_json(401, error="the signature does not match")
        if self.clock_is_off:
            return as_json(401, error="the clocks differ by 900 s, and a signature is good for 300 s")
        credential = self._by_key(key)
        if credential is not None:
            return self._named(credential)
        wants_code = dict(parse_qsl(urlsplit(seen.target).query)).get("code") == "show" and self.code
        code = {"code": self.code} if wants_code else {}
        return as_json(
            401, error="unauthorized", signin_url=f"{self.spy.url}/connect?key={key.connect}", **code
        )

    def _named(self, credential: Credential) -> bytes:
        user = credential.user
        return as_json(200, id=f"id-of-{user}", email=f"{user}@example", name=user, plan="")

    def _ollama(self, seen: Seen, path: str) -> bytes:
        if path == "/v1/chat/completions":
            secret = (seen.header("Authorization") or "").removeprefix("Bearer ")
            return reply(400 if self._by_secret(secret) else 401, b"{}")
        if path.startswith("/api/user/keys/") and seen.method == "DELETE":
            key = signer(seen)
            credential = self._by_key(key) if key else None
            if credential is None:
                return as_json(401, error="unauthorized")
            credential.revoked = True
            return as_json(200)
        return reply(404, b"404 page not found")

    def _token(self, seen: Seen) -> bytes:
        header = seen.header("Authorization") or ""
        scheme, _, rest = header.partition(" ")
        if not header:
            return as_json(200, token="nobody")
        if scheme == "Bearer":
            credential = self._by_secret(rest)
        elif scheme == "Basic":
            password = base64.b64decode(rest).decode().partition(":")[2]
            credential = self._by_secret(password)
        else:
            key = signer(seen, f"{self.spy.url}{seen.target}")
            credential = self._by_key(key) if key else None
        if credential is None:
            return as_json(403, error="the credential is not one this registry knows")
        token = f"token-{len(self.tokens)}-{os.urandom(8).hex()}"
        self.tokens[token] = credential
        return as_json(200, token=token, expires_in=300)

    def _account(self, seen: Seen, path: str) -> bytes:
        who = self._who(seen)
        if who is None:
            return self._challenge("registry:account:*")
        body: dict[str, Any] = json.loads(seen.body or b"{}")
        if (seen.method, path) == ("GET", "/api/account"):
            kept = ("id", "kind", "note", "shown", "expires", "scopes")
            document = {key: who.document[key] for key in kept}
            named = {"id": f"id-of-{who.user}", "name": who.user, "admin": False, "host": self.host}
            return as_json(200, **named, credential=document)
        if (seen.method, path) == ("GET", "/api/credentials"):
            mine = [each for each in self.credentials if each.user == who.user]
            rows = [each.document for each in mine if who.kind == "machine" or each is who]
            return reply(200, json.dumps(rows).encode(), Content_Type="application/json")
        parts = path.split("/")
        if path.startswith("/api/user/keys/") and seen.method == "DELETE":
            if who.public and PublicKey.parse(who.public).connect == parts[-1]:
                who.revoked = True
                return as_json(200)
            return as_json(404, error="there is no such key")
        own = next(
            (each for each in self.credentials if parts[3:4] == [each.id] and each.user == who.user), None
        )
        if seen.method == "DELETE" and own is who:
            own.revoked = True
            return reply(204)
        if who.kind != "machine":
            return as_json(
                403, error="an API key cannot do that: sign in with a machine's key, or in a browser"
            )
        return self._managed(seen.method, path, own, who, body)

    def _managed(
        self, method: str, path: str, own: Credential | None, who: Credential, body: Mapping[str, Any]
    ) -> bytes:
        if (method, path) == ("POST", "/api/credentials"):
            secret = api_keys.make(os.urandom(32))
            made = Credential(
                f"k{len(self.credentials)}",
                who.user,
                "api",
                body["note"],
                body.get("scopes", ["*:pull"]),
                secret=secret,
            )
            self.credentials.append(made)
            expires = moment(body.get("expires_in", 90 * DAY))
            return as_json(201, id=made.id, secret=secret, scopes=made.scopes, expires=expires)
        if (method, path) == ("POST", "/api/page"):
            return as_json(201, url=f"{self.spy.url}/page#{os.urandom(16).hex()}")
        if own is None:
            return as_json(404, error="there is no such credential")
        if method == "DELETE":
            before, own.revoked = own.revoked, True
            return as_json(200, revoked="2026-01-01T00:00:00Z") if before else reply(204)
        own.old, own.secret = own.secret, api_keys.make(os.urandom(32))
        until = moment(body["overlap"]) if body["overlap"] else None
        if not body["overlap"]:
            own.old = ""
        return as_json(200, id=own.id, secret=own.secret, expires=own.document["expires"], old_until=until)

    def _who(self, seen: Seen) -> Credential | None:
        scheme, _, token = (seen.header("Authorization") or "").partition(" ")
        credential = self.tokens.get(token) if scheme == "Bearer" else None
        return credential if credential and not credential.revoked else None

    def _challenge(self, scope: str) -> bytes:
        challenge = f'Bearer realm="{self.spy.url}/v2/token",service="{self.host}",scope="{scope}"'
        return reply(401, b'{"error":"unauthorized"}', WWW_Authenticate=challenge)

    def _by_key(self, key: PublicKey) -> Credential | None:
        return next((each for each in self.credentials if each.public == key.text and not each.revoked), None)

    def _by_secret(self, secret: str) -> Credential | None:
        known = [each for each in self.credentials if secret and secret in (each.secret, each.old)]
        return next((each for each in known if not each.revoked), None)


def signer(seen: Seen, url: str = "") -> PublicKey | None:
    """Whose signature the request bears: of a token request to `url`, else of a signed call."""
    text = signing.token_text(url) if url else signing.call_text(seen.method, seen.target)
    try:
        claim = signing.Signature.parse(seen.header("Authorization") or "")
        claim.check(text)
    except DeniedError:
        return None
    return claim.key


def as_json(status: int, **document: object) -> bytes:
    return reply(status, json.dumps(document).encode(), Content_Type="application/json")


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
