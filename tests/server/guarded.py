"""A guarded registry to knock at: accounts of every kind, and a clock one can turn."""

from __future__ import annotations

import base64
import itertools
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from argon2 import PasswordHasher
from databases import database
from identity_provider import Provider

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.contracts import Depot
from registry.errors import InvalidError, RegistryError, TransientError
from registry.model.digests import Digest
from registry.server.account_api import AccountApi
from registry.server.accounts import Accounts
from registry.server.administration_api import AdministrationApi
from registry.server.api_keys import ApiKeys
from registry.server.app import App
from registry.server.approval import Approval
from registry.server.connecting import Connecting
from registry.server.credentials import CredentialStore
from registry.server.depot_memory import MemoryDepot
from registry.server.guard import Guard
from registry.server.health import Health
from registry.server.identity import Identity
from registry.server.immutable import ImmutableTags
from registry.server.invitations import Invitations
from registry.server.issuers import Issuer, Issuers
from registry.server.job_tokens import JobTokens
from registry.server.key_scopes import KeyScope
from registry.server.last_use import LastUse
from registry.server.links import Links
from registry.server.metrics import Metrics
from registry.server.names import Names
from registry.server.organisations import Organisations
from registry.server.overview import Overview
from registry.server.passwords import Hashing, Passwords
from registry.server.people import People
from registry.server.person_api import PersonApi
from registry.server.principal import Principal, Right
from registry.server.publisher_api import PublisherApi
from registry.server.publishers import Publishers
from registry.server.repository_api import RepositoryApi
from registry.server.rights import Rights
from registry.server.room import Room
from registry.server.services import Services
from registry.server.sessions import Sessions
from registry.server.sign_in import SignIn
from registry.server.table import Need, Table, table
from registry.server.team_api import TeamApi
from registry.server.token_exchange import TokenExchange
from registry.server.tokens import Nonces, Signer, Tokens
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import answer_to
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, Transport

NOW = 1_800_000_000.0
HOST = "127.0.0.1:5050"
ORIGIN = f"http://{HOST}"
NAMES = Names.loopback("127.0.0.1", 5050)
SECRET = bytes(range(32))
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSED = 299  # what the stand-in for the application answers: the guard let it through


def key(number: int) -> PrivateKey:
    """The test key of that number."""
    return PrivateKey(bytes([number]) * 32)


def account_rows(door: Door, depot: Depot) -> Table:
    """The account API over what `depot` keeps."""
    clock = lambda: door.now  # noqa: E731
    return {
        **AccountApi(door.credentials, door.api_keys, door.rights, door.last_use, clock).rows(),
        **TeamApi(
            door.organisations,
            door.services,
            door.immutable,
            door.rights,
            door.credentials,
            door.api_keys,
            door.last_use,
        ).rows(),
        **PersonApi(door.sign_in, door.approval).rows(),
        **AdministrationApi(door.engine, door.people, door.health, clock).rows(),
        **RepositoryApi(depot, door.rights, Overview(door.engine)).rows(),
        **PublisherApi(door.jobs).rows(),
    }


@dataclass
class Passed:
    """Stands in for everything behind the guard: remembers what that let through, and for whom."""

    requests: list[Request] = field(default_factory=list)
    visitors: list[Visitor] = field(default_factory=list)

    def __call__(self, request: Request, visitor: Visitor) -> Response:
        self.requests.append(request)
        self.visitors.append(visitor)
        return Response(PASSED)

    @property
    def visitor(self) -> Visitor:
        """The last one."""
        return self.visitors[-1]

    def behind(self, door: Door) -> Table:
        """The table with this in it; signatures are still looked at."""
        real = table(App(MemoryDepot()), door.identity, self, account_rows(door, MemoryDepot()))
        return {
            route: {
                method: row if row.need is Need.SIGNATURE else replace(row, answer=self)
                for method, row in methods.items()
            }
            for route, methods in real.items()
        }


class Door:
    """A guard and everything behind it, and ways to knock."""

    def __init__(
        self,
        *,
        anonymous: Right = Right.NONE,
        names: Names = NAMES,
        depot: Callable[[Door], Depot] | None = None,
        direct_upload: bool = False,
    ) -> None:
        """Behind the guard is a stand-in, or the application over what `depot(self)` makes."""
        self.now = NOW
        self.passed = Passed()
        self.engine = database()
        identifiers = itertools.count(1)
        fresh = lambda: str(uuid.UUID(int=next(identifiers)))  # noqa: E731
        clock = lambda: self.now  # noqa: E731
        self.accounts = Accounts(self.engine, clock, fresh)
        self.credentials = CredentialStore(self.engine, clock, fresh)
        self.api_keys = ApiKeys(self.engine, clock, fresh)
        self.rights = Rights(self.engine, clock)
        self.organisations = Organisations(self.engine, clock)
        self.services = Services(self.engine, clock, fresh)
        self.immutable = ImmutableTags(self.engine, clock)
        signer = Signer(SECRET, clock, fresh)
        self.tokens, self.links = Tokens(signer), Links(signer)
        nonces = Nonces(self.engine, clock)
        self.last_use = LastUse(self.engine, clock)
        secrets = itertools.count(1)
        new_secret = lambda: f"secret-{next(secrets):026d}"  # noqa: E731
        self.sessions = Sessions(self.engine, clock, fresh, new_secret)
        self.invitations = Invitations(self.engine, clock, fresh, new_secret)
        passwords = Passwords(self.engine, Hashing(_QUICK))
        self.sign_in = SignIn(self.engine, clock, fresh, passwords, self.sessions, self.invitations)
        self.approval = Approval(self.sign_in, self.credentials, Connecting(SECRET, clock))
        self.people = People(self.accounts, passwords, self.invitations)
        self.numbers: dict[str, tuple[str, float]] = {}
        self.health = Health(Room(), lambda: self.numbers)
        self.providers: dict[str, Provider] = {}
        self.publishers = Publishers(self.engine, clock, fresh)
        self.issuers = Issuers(self._transport, clock)
        self.jobs = TokenExchange(self.publishers, self.issuers, JobTokens(signer, clock), names, clock)
        self.identity = Identity(
            self.accounts,
            self.credentials,
            self.rights,
            self.tokens,
            nonces,
            self.last_use,
            clock,
            anonymous,
            jobs=self.jobs,
        )
        self._nonces = itertools.count(1)
        self.guard = Guard(self.passed.behind(self), names, self.identity, self.links)
        if depot is not None:
            self.serve(depot(self), direct_upload)

    def serve(self, depot: Depot, direct_upload: bool = False) -> None:
        """Put the application over `depot` behind the guard."""
        app = App(depot, self.rights, self.links, direct_upload)
        rows = table(app, self.identity, Metrics().answer, account_rows(self, depot))
        self.guard = replace(self.guard, table=rows)

    def trust(self, provider: Provider, name: str, audience: str = "", /, **claims: str) -> str:
        """Let the jobs of a provider publish a repository; the identifier of that."""
        self.providers[provider.url] = provider
        issuer = Issuer(provider.url)
        made = self.publishers.add(name, issuer, claims, audience, new_issuer=True)
        self.issuers.look([issuer])
        self.issuers.wait()
        return made.id

    def _transport(self, origin: Origin, _ca: str) -> Transport:
        def transport(request: Request) -> Response:
            provider = self.providers.get(str(origin))
            if provider is None:
                raise TransientError(f"nobody answers at {origin}")
            status, body = provider.answer(request.target, "")
            return Response(status, body=body)

        return transport

    def readable(self, repository: str) -> bool:
        """Whether whoever was let through last may read it."""
        return self.rights.reader(self.passed.visitor.principal)(repository)

    def link(self, digest: Digest) -> str:
        """The path of the link that the blob's answer to whoever was let through last would carry."""
        return App(MemoryDepot(), self.rights, self.links).link_to(self.passed.visitor, digest)

    def join(self, name: str, who: PrivateKey, *, admin: bool = False) -> None:
        """Make an account with one key."""
        self.accounts.add_user(name, admin=admin, key=who.public)

    def principal(self, who: PrivateKey) -> Principal:
        """Whoever the key speaks for."""
        return self.credentials.speaker(who.public)

    def by_secret(self, secret: str) -> Principal:
        """Whom an API key means. DeniedError if it is not good."""
        return self.identity.standing_by_secret(secret, "")[0]

    def service_key(self, name: str, role: Right) -> str:
        """An API key of a service account, which is made if there is none."""
        with suppress(InvalidError):
            self.services.add(name, role)
        return self.api_keys.create(self.services.one(name), (KeyScope.parse("*:*"),)).secret

    def token_of(self, secret: str, *scopes: str) -> str:
        """A token for an API key, by way of the token endpoint."""
        query = "&".join(f"scope={scope}" for scope in scopes)
        response = self.ask("GET", f"/v2/token?{query}", token=secret)
        assert response.status == 200, response.body
        return str(document(response)["token"])

    def download_link(self, who: Principal, repository: str, digest: Digest, origin: str = ORIGIN) -> str:
        """The path of a link that was given to `who`."""
        return routes.capability(self.links.download(origin, who, repository, digest))

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
        except RegistryError as error:  # as the driver answers
            return answer_to(error)
        finally:
            answer.intake.close()

    def token_request(
        self, who: PrivateKey, *scopes: str, origin: str = ORIGIN, ts: float | None = None, nonce: str = ""
    ) -> Request:
        """A signed request for a token, as a client sends it that was challenged by `origin`."""
        service = origin.partition("://")[2]
        nonce = nonce or base64.urlsafe_b64encode(next(self._nonces).to_bytes(16, "big")).decode().rstrip("=")
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
