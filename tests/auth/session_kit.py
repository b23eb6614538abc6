"""A client's session, and a registry that gives tokens and wants them."""

from __future__ import annotations

from spy import Seen, Spy, Talk, reply

from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.auth.prefixes import Prefix
from registry.auth.secrets import Login
from registry.auth.session import Session
from registry.wire.messages import Access, Origin, Transport

KEY = PrivateKey(bytes(range(32)))
BLOB = "/v2/acme/tiny/blobs/sha256:" + "0" * 64
UPLOADS = "/v2/acme/tiny/blobs/uploads/"
READING = Access("acme/tiny")
WRITING = Access("acme/tiny", ("pull", "push"))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def session(
    http: Transport, spy: Spy, clock: Clock | None = None, secret: PrivateKey | Login | None = KEY
) -> Session:
    origin = Origin.of(spy.url)
    logins = {Prefix(origin.netloc): secret} if isinstance(secret, Login) else {}
    credentials = Credentials(key=secret if isinstance(secret, PrivateKey) else None, logins=logins)
    return Session(
        http, origin, credentials.account(origin), clock=clock or Clock(), new_nonce=lambda: "nonce"
    )


class Registry:
    """A script: paths below /token give tokens, everything else wants one of those it calls `good`."""

    def __init__(self, scope: str = "repository:acme/tiny:pull", seconds: int = 60) -> None:
        self.scope = scope
        self.seconds = seconds
        self.given = 0
        self.good: set[str] = set()
        self.realm = ""

    def __call__(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if seen.target.startswith("/token"):
            self.given += 1
            self.good.add(f"Bearer T{self.given}")
            talk.send(reply(200, f'{{"token":"T{self.given}","expires_in":{self.seconds}}}'.encode()))
        elif seen.header("Authorization") in self.good:
            talk.send(reply(200, b"fine"))
        else:
            realm = self.realm or f"{talk.spy.url}/token"
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="{self.scope}"'))
