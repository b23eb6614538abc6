"""A guarded registry to knock at: accounts of every kind, and a clock one can turn."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.contracts import Depot
from registry.model.digests import Digest
from registry.server.accounts import Accounts, Right
from registry.server.database import METADATA
from registry.server.desk import Desk
from registry.server.guard import Application, Guard
from registry.server.names import Names
from registry.server.tokens import Nonces, Tokens
from registry.wire.headers import Headers
from registry.wire.messages import Exchange, Request, Response

NOW = 1_800_000_000.0
HOST = "127.0.0.1:5050"
ORIGIN = f"http://{HOST}"
NAMES = Names.loopback("127.0.0.1", 5050)
SECRET = bytes(range(32))
PASSED = 299  # what the stand-in for the application answers: the guard let it through


def database() -> Engine:
    """An empty database in memory, the same one from every thread."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    METADATA.create_all(engine)
    return engine


def key(number: int) -> PrivateKey:
    """The test key of that number."""
    return PrivateKey(bytes([number]) * 32)


class Holders:
    """As much of a depot as the guard asks: which repositories hold a blob."""

    def __init__(self, *repositories: str) -> None:
        self.repositories = list(repositories)

    def holders(self, digest: Digest) -> list[str]:
        return self.repositories


@dataclass
class Passed:
    """Stands in for the application: remembers what the guard let through."""

    requests: list[Request] = field(default_factory=list)
    readable: Callable[[str], bool] = bool
    capability: Callable[[str, Digest], str] = "{}{}".format
    deposit: Callable[[str, str, int], str] = "{}{}{}".format

    def __call__(
        self,
        *,
        readable: Callable[[str], bool],
        capability: Callable[[str, Digest], str],
        deposit: Callable[[str, str, int], str],
    ) -> Exchange:
        self.readable, self.capability, self.deposit = readable, capability, deposit
        return self._answer

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(PASSED)


class Door:
    """A guard and everything behind it, and ways to knock."""

    def __init__(
        self,
        *,
        anonymous: Right = Right.NONE,
        names: Names = NAMES,
        application: Application | None = None,
        depot: Depot | Holders | None = None,
    ) -> None:
        self.now = NOW
        self.passed = Passed()
        self.engine = database()
        identifiers = itertools.count(1)
        fresh = lambda: str(uuid.UUID(int=next(identifiers)))  # noqa: E731
        clock = lambda: self.now  # noqa: E731
        self.accounts = Accounts(self.engine, clock, fresh)
        self.tokens = Tokens(SECRET, clock, fresh)
        desk = Desk(self.accounts, self.tokens, Nonces(self.engine, clock), clock, anonymous)
        self.guard = Guard(depot or Holders(), application or self.passed, names, desk)  # type: ignore[arg-type]
        self._nonces = itertools.count(1)

    def join(self, name: str, who: PrivateKey, *, admin: bool = False) -> None:
        """Make an account with one key."""
        self.accounts.add_user(name, admin=admin)
        self.accounts.add_key(name, who.public)

    def ask(self, method: str, target: str, *, token: str = "", body: bytes = b"", **fields: str) -> Response:
        """What the guard answers; header names are written with `_`."""
        headers = {"Host": HOST, **{name.replace("_", "-"): value for name, value in fields.items()}}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.send(Request(method, ORIGIN + target, Headers(headers), body))

    def send(self, request: Request) -> Response:
        """What the guard answers to exactly this request."""
        answer = self.guard(request)
        if isinstance(answer, Response):
            return answer
        try:
            assert isinstance(request.body, bytes)
            answer.intake.write(request.body)
            return answer.then()
        finally:
            answer.intake.close()

    def token_request(
        self, who: PrivateKey, *scopes: str, origin: str = ORIGIN, ts: float | None = None, nonce: str = ""
    ) -> Request:
        """A signed request for a token, as a client sends it that was challenged by `origin`."""
        service = origin.partition("://")[2]
        nonce = nonce or signing.nonce_text(next(self._nonces).to_bytes(16, "big"))
        url = signing.token_url(
            f"{origin}/v2/token", service, scopes, now=self.now if ts is None else ts, nonce=nonce
        )
        value = signing.authorization(who, signing.token_text(url))
        return Request("GET", url, Headers({"Host": service, "Authorization": value}))

    def token(self, who: PrivateKey | None, *scopes: str) -> str:
        """A token for a key, or for anybody, by way of the token endpoint."""
        if who is None:
            query = "&".join(f"scope={scope}" for scope in scopes)
            response = self.ask("GET", f"/v2/token?service={HOST}&{query}")
        else:
            response = self.send(self.token_request(who, *scopes))
        assert response.status == 200, response.body
        return str(document(response)["token"])

    def call(self, who: PrivateKey, method: str, path: str, /, **changes: object) -> Response:
        """A bare signed call; `target`, `headers` or `ts` may be changed after it was signed."""
        ts = changes.pop("ts", self.now)
        assert isinstance(ts, float)
        target = signing.call_target(path, now=ts)
        value = signing.authorization(who, signing.call_text(method, target))
        request = Request(method, ORIGIN + target, Headers({"Host": HOST, "Authorization": value}))
        return self.send(replace(request, **changes))  # type: ignore[arg-type]


def text(response: Response) -> str:
    """The whole body."""
    body = response.body
    return (body if isinstance(body, bytes) else b"".join(body)).decode()  # type: ignore[arg-type]


def document(response: Response) -> dict[str, object]:
    """The body as a JSON object."""
    value = json.loads(text(response))
    assert isinstance(value, dict)
    return value
