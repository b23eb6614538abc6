"""Everybody of the authorisation table, with what they bring, and a registry that answers them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import jwt
from authorisation_jobs import tokens as jobs_tokens
from authorisation_table import BLOB, LOOSE, REPOSITORIES, Cell
from authorisation_teams import OF_TEAMS, PEOPLE, body_for_team, mend_teams, with_teams
from databases import begin_session
from guarded import HOST, ORIGIN, SECRET, Door, account_rows, key, text

from registry.auth import api_keys, signing
from registry.auth.keys import PrivateKey
from registry.contracts import Depot
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.api_keys import Made
from registry.server.app import App
from registry.server.depot import DiskDepot
from registry.server.depot_memory import MemoryDepot
from registry.server.guard import Guard
from registry.server.key_scopes import parse_scopes
from registry.server.metrics import Metrics
from registry.server.principal import Right
from registry.server.sessions import Sessions
from registry.server.table import Table, table
from registry.server.tokens import TOKEN_SECONDS, Signer, Tokens
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

CONFIG, PRIVATE = b"{}", b"only in acme/private"
OTHER = Digest.of(PRIVATE)
DESCRIPTOR = Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG))
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": DESCRIPTOR.as_json(), "layers": []}
).encode()
ACCOUNTS = ("stranger", "reader", "writer", "acme", "admin", "heir", "disabled", "revoked", "disconnected")
KEYS = {name: key(number) for number, name in enumerate((*ACCOUNTS, "friend", "former owner", "unknown"), 1)}
SCOPES = [f"repository:{name}:pull,push,delete" for name in REPOSITORIES]
EVERYTHING = [*SCOPES, "registry:catalog:*", "registry:account:*"]


def fill(depot: Depot) -> dict[str, str]:
    """Two repositories with a tag, blobs that no manifest names, and an open upload each: which these are."""
    uploads = {"acme/missing": "none"}
    for repository in ("acme/private", "acme/public"):
        for data in (CONFIG, LOOSE, *((PRIVATE,) if repository == "acme/private" else ())):
            upload = depot.begin(repository)
            upload.write(data)
            upload.commit(Digest.of(data))
            upload.close()
        depot.publish(repository, Manifest.parse(MANIFEST), "latest")
        upload = depot.begin(repository)
        upload.write(LOOSE)
        upload.close()
        uploads[repository] = upload.id
    return uploads


@dataclass
class World:
    """The registry, and by each principal's name the headers of their requests."""

    door: Door
    depot: DiskDepot
    uploads: dict[str, str]
    sessions: Sessions
    brings: dict[str, dict[str, str]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    _account: Table = field(default_factory=dict)
    _metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def made(cls, directory: Path) -> World:
        """Everybody has joined and was given what they bring; then what ends for some of them has ended."""
        door = Door()
        numbers = itertools.count()
        depot = DiskDepot(directory, door.engine, lambda: door.now, lambda: f"s{next(numbers)}")
        former = _with_a_former_owner(door)
        new_id = lambda: f"s{next(numbers)}"  # noqa: E731
        sessions = Sessions(door.engine, lambda: door.now, new_id, new_id)
        world = cls(door, depot, {}, sessions)
        for name in (*ACCOUNTS, "friend"):
            if name != "heir":
                door.join(name, KEYS[name], admin=name == "admin")
        world.uploads = fill(depot)
        door.rights.set_public("acme/public", True)
        for name in ("writer", "disabled", "revoked", "disconnected"):
            door.rights.grant(name, "acme", Right.WRITE)
        for repository in ("acme/private", "acme/public"):
            door.rights.grant("reader", repository, Right.READ)
        tokens, keys = with_teams(door, former["service"])  # after `friend` has joined
        for name, token in tokens.items():
            world._bear(name, token)
        for name, secret in keys.items():
            world._show(name, secret)
        world._give_tokens(former["token"])
        world._give_keys(former["key"])
        world._give_sessions()
        door.accounts.disable("disabled")
        door.credentials.revoke_key(KEYS["revoked"].public.fingerprint)
        door.credentials.disconnect_key(KEYS["disconnected"].public.fingerprint)
        door.guard = world._guard(depot)
        return world

    # --- what they bring -----------------------------------------------------------------------------

    def _give_tokens(self, former: str) -> None:
        door = self.door
        for name in ACCOUNTS:
            self._bear("owner" if name == "acme" else name, door.token(KEYS[name], *EVERYTHING))
        self.brings["nobody"] = {}
        self._bear("anybody's token", door.token(None, *EVERYTHING))
        for name, who in (("owner", "acme"), ("stranger", "stranger")):
            self._bear(f"{name}, for other repositories", door.token(KEYS[who], "repository:other/x:pull"))
        self._bear("former owner", former)
        for name, value in jobs_tokens(door).items():
            self._bear(name, value)
        door.now -= TOKEN_SECONDS
        self._bear("token over", door.token(KEYS["acme"], *EVERYTHING))
        door.now += TOKEN_SECONDS
        for name, value in self._forged().items():
            self._bear(name, value)
        text_ = signing.token_text(f"{ORIGIN}/v2/token")
        self.brings["signature as token"] = {"Authorization": signing.authorization(KEYS["acme"], text_)}

    def _forged(self) -> dict[str, str]:
        """Tokens of the owner's that are not good, each for a reason of its own."""
        door, owner = self.door, self.door.principal(KEYS["acme"])
        good = door.token(KEYS["acme"], *EVERYTHING)
        access = door.tokens.read(ORIGIN, good).access
        claims = jwt.decode(good, options={"verify_signature": False})
        head, body, signature = good.split(".")
        elsewhere = Tokens(Signer(bytes(32), lambda: door.now, lambda: "1"))
        soon = Tokens(Signer(SECRET, lambda: door.now + 60, lambda: "soon"))
        return {
            "token not yet": soon.issue(ORIGIN, owner, access),
            "other audience": door.tokens.issue("http://localhost:5050", owner, access),
            "other server": elsewhere.issue(ORIGIN, owner, access),
            "tampered": f"{head}.{_encoded({**claims, 'exp': claims['exp'] + 1})}.{signature}",
            "alg none": f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.",
            "public key as secret": jwt.encode(claims, KEYS["acme"].public.raw),
            "alg RS256": _signed({"alg": "RS256", "typ": "JWT"}, body),
            "download link": door.links.download(ORIGIN, owner, "acme/private", BLOB),
            "garbage": "not.a.token",
        }

    def _give_keys(self, former: str) -> None:
        door = self.door
        self._show("key of former owner", former)
        for user, names in _KEYS.items():
            for name, scopes in names.items():
                self._show(name, self._key(user, *scopes).secret)
        kept = self._key("acme", "acme/*:*")
        self._show("owner's old secret", kept.secret)
        door.api_keys.rotate("acme", kept.id, 3600)
        ends: dict[str, Callable[[Made], object]] = {
            "key revoked": lambda made: door.credentials.revoke("acme", made.id),
            "key replaced": lambda made: door.api_keys.rotate("acme", made.id, 0),
        }
        for name, end in ends.items():
            made = self._key("acme", "*:*")
            self._show(name, made.secret)
            end(made)
        door.now -= 100
        for name, seconds in (("key over", 100), ("old secret over", 10_000)):
            made = self._key("acme", "*:*", seconds=seconds)
            self._show(name, made.secret)
            if name != "key over":
                door.api_keys.rotate("acme", made.id, 100)
        door.now += 100
        self._show("key of disabled", self._key("disabled", "*:*").secret)
        self._show("key of another server", api_keys.make(bytes(range(32))))
        self._show("key mistyped", api_keys.make(bytes(range(32)))[:-1] + "-")

    def _give_sessions(self) -> None:
        for name in ("stranger", "reader", "owner", "admin", *PEOPLE):
            user = self.door.accounts.user("acme" if name == "owner" else name)
            secret = begin_session(self.sessions, user, "127.0.0.1")
            found = self.sessions.find(secret)
            assert found is not None
            cookie = {"Cookie": f"ferry-5050={secret}", "Origin": ORIGIN, "X-Ferry-Form": found.token}
            self.brings[f"session of {name}"] = cookie

    def _bear(self, name: str, token: str) -> None:
        self.brings[name] = {"Authorization": f"Bearer {token}"}

    def _show(self, name: str, secret: str) -> None:
        """An API key in each way of showing it."""
        self._bear(f"{name}, Bearer", secret)
        basic = base64.b64encode(f"x:{secret}".encode()).decode()
        self.brings[f"{name}, Basic"] = {"Authorization": f"Basic {basic}"}
        query = "&".join(f"scope={scope}" for scope in EVERYTHING)
        answer = self.door.ask("GET", f"/v2/token?{query}", token=secret)
        if answer.status == 200:
            self._bear(f"{name}, token", str(json.loads(text(answer))["token"]))

    def _key(self, user: str, *scopes: str, seconds: int | None = None) -> Made:
        owner = self.door.accounts.user(user)
        return self.door.api_keys.create(owner, parse_scopes(scopes), seconds=seconds)

    # --- asking --------------------------------------------------------------------------------------

    def ask(self, cell: Cell) -> Response:
        """What a cell's request is answered. A change that is to be made is made to a depot of its own."""
        if cell.target.endswith("/revoke"):  # strangers may do that so often only
            self._account = {}
        self.door.guard, uploads = self._guard(self.depot), self.uploads
        if cell.target.startswith("/v2/acme/") and cell.status < 300 and cell.method not in ("GET", "HEAD"):
            depot = MemoryDepot()
            uploads = fill(depot)
            self.door.guard = self._guard(depot)
        target = cell.target.replace("UPLOAD", uploads.get(cell.repository, ""))
        target = target.lower() if cell.status == 405 else self._meant(cell, target)
        body = self._body(cell)
        headers = Headers({"Host": HOST, **self.brings[cell.who.name]})
        answer = self.door.send(Request(cell.method, ORIGIN + target, headers, body))
        if cell.method == "DELETE" and answer.status == 204:
            self._mend(target)
        return answer

    def _mend(self, target: str) -> None:
        """Make again what the other cells need, after it was deleted."""
        if target == "/api/sessions":
            self._give_sessions()
        elif target.startswith(OF_TEAMS):
            mend_teams(self.door)
        elif target in ("/api/repositories/acme/private", "/api/repositories/acme/public"):
            self.uploads = fill(self.depot)
            self.door.rights.set_public("acme/public", True)

    def _guard(self, depot: Depot) -> Guard:
        door = self.door
        app = App(depot, door.rights, door.links, direct_upload=True)
        self._account = self._account or account_rows(door, self.depot)
        rows = table(app, door.identity, self._metrics.answer, self._account)
        return replace(door.guard, table=rows, sessions=self.sessions)

    def _meant(self, cell: Cell, target: str) -> str:
        """The target, with a fresh credential of the principal's own, or of somebody else's, in it."""
        user = "friend" if "THEIRS" in target else cell.who.user or "friend"
        if "/api/user/keys/" in target:
            machine = PrivateKey(next(self.numbers).to_bytes(32))
            self.door.credentials.add_key(user, machine.public)
            return target.replace("MINE", machine.public.connect).replace("THEIRS", machine.public.connect)
        if "SOMEBODY" in target:
            name = f"somebody-{next(self.numbers)}"
            self.door.invitations.invite(name)
            return target.replace("SOMEBODY", name)
        if "WAITING" in target:
            machine = PrivateKey(next(self.numbers).to_bytes(32))
            self.door.approval.connecting.note(machine.public, "127.0.0.1", shows_code=False)
            return target.replace("WAITING", machine.public.connect)
        if target.startswith("/api/sessions/"):
            session = self.sessions.find(
                begin_session(self.sessions, self.door.accounts.user(user), "127.0.0.1")
            )
            assert session is not None
            return target.replace("MINE", session.id).replace("THEIRS", session.id)
        if "MINE" in target or "THEIRS" in target:
            id = self._key(user, "*:pull").id
            return target.replace("MINE", id).replace("THEIRS", id)
        if "/shares/" in target and cell.method == "DELETE" and cell.status < 300:
            self.door.rights.grant("friend", cell.repository, Right.READ)
        return target

    def _body(self, cell: Cell) -> bytes:
        if cell.method == "PUT" and "/manifests/" in cell.target:
            return MANIFEST
        if cell.target.startswith(OF_TEAMS):
            return body_for_team(cell.method, cell.target, next(self.numbers))
        if cell.target.endswith("/revoke"):
            return json.dumps({"secret": self._key("friend", "*:pull").secret}).encode()
        if cell.target.startswith("/api/users"):
            if cell.method == "PATCH":
                return b'{"disabled":false}'
            return json.dumps({"name": f"invited-{next(self.numbers)}"}).encode()
        if cell.method == "PATCH" and cell.target.startswith("/api/"):
            public = cell.repository == "acme/public"  # as it is: nothing else depends on the order of cells
            return json.dumps({"visibility": "public" if public else "private"}).encode()
        return b'{"right":"read"}' if "/shares/" in cell.target and cell.method == "PUT" else b""


# The API keys that are good: by account, what they are called in the table, and their scopes.
_KEYS = {
    "acme": {
        "owner's acme/*:*": ["acme/*:*"],
        "owner's acme/*:pull": ["acme/*:pull"],
        "owner's acme/*:push": ["acme/*:push"],
        "owner's acme/*:delete": ["acme/*:delete"],
        "owner's acme/private:push": ["acme/private:push"],
        "owner's elsewhere/*:*": ["elsewhere/*:*"],
    },
    "reader": {"reader's *:*": ["*:*"]},
    "writer": {"writer's *:*": ["*:*"]},
    "stranger": {"stranger's *:*": ["*:*"]},
    "heir": {"heir's *:*": ["*:*"]},
    "admin": {"admin's acme/private:*": ["acme/private:*"], "admin's *:pull": ["*:pull"]},
}


def _with_a_former_owner(door: Door) -> dict[str, str]:
    """A namespace `acme` in which `heir` may write, removed with its owner; what they had been given."""
    door.join("acme", KEYS["former owner"])
    door.join("heir", KEYS["heir"])
    door.rights.grant("heir", "acme", Right.WRITE)
    token = door.token(KEYS["former owner"], *EVERYTHING)
    made = door.api_keys.create(door.accounts.user("acme"), parse_scopes(["*:*"]))
    service = door.service_key("acme/writes", Right.WRITE)
    door.accounts.remove("acme")
    return {"token": token, "key": made.secret, "service": service}


def _encoded(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _signed(head: dict[str, object], body: str) -> str:
    """A token whose head says one algorithm, and which is signed by the server's."""
    signed = f"{_encoded(head)}.{body}"
    digest = hmac.new(SECRET, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
