"""Tokens and links: only ours, only in time, only for what they say."""

from __future__ import annotations

import base64
import json
import sqlite3
import stat
import threading
from pathlib import Path

import jwt
import pytest
from guarded import NOW, ORIGIN, SECRET, Door
from sqlalchemy import Connection, event, select
from waiting import until

from registry.errors import DeniedError, InvalidError, RegistryError
from registry.model.digests import Digest
from registry.server.database import reading
from registry.server.links import DAY, Links
from registry.server.principal import ANYBODY, Credential, Principal
from registry.server.tables import NONCES
from registry.server.tokens import TOKEN_SECONDS, Nonces, Scope, Signer, secret_in

PULL = Scope("repository", "acme/tiny", ("pull",))
BLOB = Digest.of(b"blob")
SOMEBODY = Principal(credential=Credential("key", "somebody"))


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_token_says_who_asked_and_for_what(door: Door) -> None:
    claim = door.tokens.read(ORIGIN, door.tokens.issue(ORIGIN, SOMEBODY, [PULL]))
    assert claim.credential == "somebody"
    assert claim.access == (PULL,)


def test_a_token_has_the_standard_claims(door: Door) -> None:
    token = door.tokens.issue(ORIGIN, SOMEBODY, [PULL])
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["iss"] == claims["aud"] == ORIGIN
    assert claims["exp"] - claims["nbf"] == TOKEN_SECONDS
    assert claims["access"] == [{"type": "repository", "name": "acme/tiny", "actions": ["pull"]}]
    assert claims["jti"]


def forged(**changes: object) -> str:
    """A token as ours, signed with our secret, but for `changes`; None takes a claim away."""
    claims: dict[str, object] = {
        "iss": ORIGIN,
        "aud": ORIGIN,
        "nbf": int(NOW),
        "exp": int(NOW) + 100,
        "jti": "1",
        "credential": "",
        "access": [],
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, SECRET, algorithm="HS256")


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


GOOD = forged()
HEAD, BODY, SIGNATURE = GOOD.split(".")
FORGERIES = {
    "nothing": "",
    "garbage": "a.b.c",
    "two parts": f"{HEAD}.{BODY}",
    "no signature": f"{HEAD}.{BODY}.",
    "alg none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{BODY}.",
    "alg None in other case": f"{part({'alg': 'nOnE'})}.{BODY}.{SIGNATURE}",
    "another secret": jwt.encode(jwt.decode(GOOD, options={"verify_signature": False}), bytes(32)),
    "another algorithm": jwt.encode(
        jwt.decode(GOOD, options={"verify_signature": False}), SECRET * 2, algorithm="HS512"
    ),
    "tampered access": f"{HEAD}.{part({'access': [PULL.as_json()]})}.{SIGNATURE}",
    "another issuer": forged(iss="http://evil.example"),
    "another audience": forged(aud="http://evil.example"),
    "several audiences": forged(aud=[ORIGIN, "http://evil.example"]),
    "no audience": forged(aud=None),
    "no expiry": forged(exp=None),
    "no beginning": forged(nbf=None),
    "no identifier": forged(jti=None),
    "no key": forged(credential=None),
    "a key that is none": forged(credential=7),
    "access that is none": forged(access="all"),
    "access of strings": forged(access=["repository:acme/tiny:pull"]),
    "not yet": forged(nbf=int(NOW) + 1),
    "over": forged(exp=int(NOW)),
    "an expiry that is none": forged(exp="9999999999"),
    "endless": GOOD + "A" * 100_000,
    "deep": f"{HEAD}.{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{SIGNATURE}",
    "signed, but longer than any of ours": forged(more="x" * 9000),
    "a bad letter": GOOD[:-2] + "é" + GOOD[-1],
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_refused(door: Door, token: str) -> None:
    assert door.tokens.read(ORIGIN, GOOD)
    with pytest.raises(DeniedError):
        door.tokens.read(ORIGIN, token)


def test_a_token_ends_after_five_minutes(door: Door) -> None:
    token = door.tokens.issue(ORIGIN, SOMEBODY, [PULL])
    door.now += TOKEN_SECONDS - 1
    door.tokens.read(ORIGIN, token)
    door.now += 1
    with pytest.raises(DeniedError, match="expired"):
        door.tokens.read(ORIGIN, token)


def test_a_link_is_for_one_blob_and_lives_for_days(door: Door) -> None:
    link = door.links.download(ORIGIN, SOMEBODY, "acme/tiny", BLOB)
    door.now += 7 * DAY - 1
    good = door.links.read_download(ORIGIN, link)
    assert (good.credential, good.repository, good.digest) == ("somebody", "acme/tiny", BLOB)
    door.now += 1
    with pytest.raises(DeniedError, match="expired"):
        door.links.read_download(ORIGIN, link)


def test_a_link_is_no_token_and_a_token_no_link(door: Door) -> None:
    with pytest.raises(DeniedError):
        door.tokens.read(ORIGIN, door.links.download(ORIGIN, ANYBODY, "acme/tiny", BLOB))
    with pytest.raises(DeniedError):
        door.links.read_download(ORIGIN, door.tokens.issue(ORIGIN, ANYBODY, [PULL]))


def test_a_link_is_known_by_its_audience_not_by_what_it_happens_to_hold(door: Door) -> None:
    mixed = forged(repository="acme/tiny", digest=str(BLOB))
    assert door.tokens.read(ORIGIN, mixed)
    with pytest.raises(DeniedError):
        door.links.read_download(ORIGIN, mixed)


def test_no_repr_shows_the_secret(door: Door) -> None:
    assert repr(SECRET)[2:20] not in repr(door.tokens)


@pytest.mark.parametrize("seconds", [0, 59, 365 * DAY + 1])
def test_a_link_lives_neither_moments_nor_for_ever(seconds: int) -> None:
    with pytest.raises(InvalidError):
        Links(Signer(SECRET, lambda: NOW, lambda: ""), seconds)


def test_a_short_secret_is_none() -> None:
    with pytest.raises(InvalidError):
        Signer(bytes(31), lambda: NOW, lambda: "")


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "repository",
        "repository:a",
        ":a:pull",
        "repository::pull",
        "repository:a:PULL",
        "repository:a b:pull",
        "repository:a:" + ",".join("abcdefghij"),
        "repository:a:pull\n",
        "a" * 600,
    ],
)
def test_a_scope_that_is_none_is_refused(scope: str) -> None:
    with pytest.raises(InvalidError, match="is not a scope"):
        Scope.parse(scope)


@pytest.mark.parametrize(
    "scope, action, covered",
    [
        ("repository:acme/tiny:pull", "pull", True),
        ("repository:Acme/Tiny:pull", "pull", True),
        ("repository:acme/tiny:pull", "push", False),
        ("repository:acme/tiny:push", "pull", False),
        ("repository:acme/tiny:push", "delete", True),
        ("repository:acme/tiny:delete", "push", False),
        ("repository:acme/tiny2:pull", "pull", False),
        ("registry:acme/tiny:pull", "pull", False),
        ("repository:acme/tiny:", "pull", False),
        ("repository:localhost:5000/acme/tiny:pull", "pull", False),
    ],
)
def test_an_access_covers_exactly_what_it_says(scope: str, action: str, covered: bool) -> None:
    assert Scope.parse(scope).covers("repository", "acme/tiny", action) is covered


def test_a_nonce_is_good_once_for_each_key(door: Door) -> None:
    nonces = Nonces(door.engine, lambda: door.now)
    nonces.spend("one", "n" * 22, NOW)
    nonces.spend("two", "n" * 22, NOW)
    door.now += 299
    with pytest.raises(DeniedError, match="used before"):
        nonces.spend("one", "n" * 22, NOW + 599)
    door.now += 3
    nonces.spend("one", "n" * 22, NOW + 599)


def test_what_was_signed_before_a_restore_is_good_for_nothing(door: Door) -> None:
    nonces = Nonces(door.engine, lambda: door.now, since=NOW)
    for signed in (NOW - 1, NOW):
        with pytest.raises(DeniedError, match="before the registry was restored"):
            nonces.spend("one", "n" * 22, signed)
    nonces.spend("one", "n" * 22, NOW + 1)


def test_nonces_that_come_while_one_is_written_share_a_transaction_and_each_is_good_once(door: Door) -> None:
    nonces = Nonces(door.engine, lambda: NOW)
    commits: list[Connection] = []
    refused: list[str] = []
    event.listen(door.engine, "commit", commits.append)
    holder = sqlite3.connect(str(door.engine.url.database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def spend(nonce: str) -> None:
        try:
            nonces.spend("one", nonce * 22, NOW)
        except DeniedError:
            refused.append(nonce)

    first, *others = (threading.Thread(target=spend, args=(each,)) for each in "abcddef")
    first.start()
    until(lambda: nonces._shared._writer.locked() and not nonces._shared._waiting)
    for each in others:
        each.start()
    until(lambda: len(nonces._shared._waiting) == len(others))
    holder.execute("ROLLBACK")
    holder.close()
    for each in (first, *others):
        each.join(20)
    assert len(commits) == 2
    assert refused == ["d"]
    with reading(door.engine) as database:
        assert len(database.execute(select(NONCES)).all()) == 6


@pytest.mark.parametrize("nonce", ["", "short", "n" * 129, "n" * 21 + "=", "n" * 21 + "'"])
def test_a_nonce_that_is_none_is_refused(door: Door, nonce: str) -> None:
    with pytest.raises(DeniedError, match="no usable nonce"):
        Nonces(door.engine, lambda: NOW).spend("one", nonce, NOW)


def test_the_secret_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    assert secret_in(tmp_path, SECRET) == secret_in(tmp_path, bytes(32)) == SECRET.hex().encode()
    (made,) = tmp_path.iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    made.chmod(0o644)
    with pytest.raises(DeniedError):
        secret_in(tmp_path, SECRET)


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    secret_in(tmp_path, SECRET)
    (tmp_path / "token-secret").write_bytes(b"short")
    with pytest.raises(RegistryError, match="damaged"):
        secret_in(tmp_path, SECRET)
