"""Trusted publishers: which CI jobs may publish a model, by what their issuer says (PROTOCOL section 7).

A publisher is a credential of a namespace that has no secret: it is a repository, an issuer, and the claims
that an ID token of that issuer has to have. Each ID token is good once: that is a row in the database.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select

from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.server.audit import record
from registry.server.bearers import principal_of
from registry.server.database import change, reading, upsert, upsert_for, writing
from registry.server.id_tokens import SKEW_SECONDS, IdToken
from registry.server.issuers import GITHUB, GITLAB, WELL_KNOWN, Issuer
from registry.server.namespaces import ensure, namespace_of, scope
from registry.server.principal import PUBLISHER, Right
from registry.server.tables import CREDENTIALS, ISSUERS, PUBLISHERS, SPENT_ID_TOKENS

MOST_PUBLISHERS = 100  # of one namespace
_MOST_CLAIMS = 16
_TEXT = 255  # characters of a claim's name, value, or an audience
_SHOWN = 60
# What says who the owner is and stays so: names are given up, and registered anew by others.
OWNER_IDS = (
    ("repository_owner_id", "repository_id"),  # GitHub, Forgejo
    ("namespace_id", "project_id"),  # GitLab
    ("organization_id", "pipeline_id"),  # Buildkite
)
_OWNER_NAMES = ("repository", "repository_owner", "project_path", "namespace_path", "organization_slug")
_FORGET = delete(SPENT_ID_TOKENS).where(SPENT_ID_TOKENS.c.expires < bindparam("now"))


@dataclass(frozen=True, slots=True)
class Publisher:
    """Jobs of `issuer` whose ID tokens have exactly `claims` may pull and push `repository`.

    `audience`: what the tokens have to be for, "" for this registry's own address. `created` in Unix seconds.
    """

    id: str
    repository: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    created: float

    def differing(self, token: IdToken, audiences: Collection[str]) -> list[str]:
        """The names of the claims that are not as they have to be; `audiences` are this registry's own."""
        meant = token.audience == self.audience if self.audience else token.audience in audiences
        return [*([] if meant else ["aud"]), *token.differing(self.claims)]


def check_claims(issuer: str, claims: Mapping[str, str]) -> None:
    """InvalidError for claims that would let in others than who is meant."""
    if not 1 <= len(claims) <= _MOST_CLAIMS:
        raise InvalidError(f"a publisher has between 1 and {_MOST_CLAIMS} claims, not {len(claims)}")
    for name, value in claims.items():
        if not (0 < len(name) <= _TEXT and 0 < len(value) <= _TEXT and (name + value).isprintable()):
            raise InvalidError(f"the claim {name[:40]!r} is empty, too long, or has control characters in it")
        if name in ("iss", "aud", "exp", "iat", "nbf", "jti"):
            raise InvalidError(f"the claim {name} is looked at anyway", hint="leave it out")
    if any(name in claims for names in OWNER_IDS for name in names):
        return
    if "sub" not in claims or issuer in (GITHUB, GITLAB) or any(name in claims for name in _OWNER_NAMES):
        wanted = "project_id or namespace_id" if issuer == GITLAB else "repository_owner_id or repository_id"
        raise InvalidError(
            "the claims name nobody for good: a name can be given up, and registered anew by others; "
            f"{wanted} stays",
            hint="the README says under 'CI without a secret' where these numbers are found",
        )


@dataclass(frozen=True, slots=True)
class Publishers:
    """The publishers in one database; `clock` in Unix seconds. All methods raise StorageError.

    A database that was restored has forgotten which tokens were spent: none that was issued until `since`
    (Unix seconds) is taken.
    """

    engine: Engine
    clock: Clock
    new_id: NewId
    since: float = 0.0

    # --- which there are -----------------------------------------------------------------------------

    def add(
        self,
        repository: str,
        issuer: Issuer,
        claims: Mapping[str, str],
        audience: str = "",
        actor: Actor = NOBODY,
        *,
        new_issuer: bool = False,
    ) -> Publisher:
        """Let jobs publish `repository`; InvalidError for a bad name, bad claims, or one too many.

        `new_issuer`: an administrator says so, who may name any issuer, and its certificates anew; others
        choose among those that are known.
        """
        name, now = scope(repository), self.clock()
        if "/" not in name:
            raise InvalidError(f"{repository!r} is a namespace", hint="a publisher is of one NAMESPACE/MODEL")
        check_claims(issuer.url, claims)
        if len(audience) > _TEXT or not audience.isprintable():
            raise InvalidError(f"an audience is one line of at most {_TEXT} characters")
        made = Publisher(self.new_id(), name, issuer.url, audience, dict(claims), now)
        with writing(self.engine) as database:
            if new_issuer:
                _keep_issuer(database, issuer)
            elif issuer.url not in {each.url for each in _issuers(database)}:
                raise InvalidError(
                    f"{issuer.url} is no issuer that this registry knows",
                    hint="its administrator names it: ferry admin publisher add … --issuer URL",
                )
            namespace = ensure(database, namespace_of(name), now)
            _check_room(database, namespace, name)
            of = {"id": made.id, "kind": PUBLISHER, "namespace": namespace, "added": now}
            database.execute(insert(CREDENTIALS).values(**of, cap=Right.WRITE.name.lower()))
            database.execute(
                insert(PUBLISHERS).values(
                    credential=made.id,
                    repository=name,
                    issuer=issuer.url,
                    audience=audience,
                    claims=json.dumps(made.claims, sort_keys=True),
                )
            )
            said = " ".join(f"{key}={value}" for key, value in sorted(made.claims.items()))
            record(database, now, actor, "publisher.add", f"{made.id} {issuer.url} {said}", repository=name)
        return made

    def remove(self, id: str, actor: Actor = NOBODY) -> Publisher:
        """It may nothing any more from the next request on, nor may the tokens it got. NotFoundError."""
        with writing(self.engine) as database:
            row = database.execute(_LIST.where(PUBLISHERS.c.credential == id)).first()
            if row is None:
                raise NotFoundError(
                    f"there is no publisher {id[:40]}", hint="ferry admin publisher list shows them"
                )
            database.execute(delete(CREDENTIALS).where(CREDENTIALS.c.id == id))
            gone = _publisher(row)
            record(database, self.clock(), actor, "publisher.remove", id, repository=gone.repository)
        return gone

    def forget(self, issuer: str, actor: Actor = NOBODY) -> list[Publisher]:
        """End all publishers of an issuer, which is known no more until it is named anew; which they were.

        The two that all the world uses stay known. NotFoundError.
        """
        with writing(self.engine) as database:
            rows = database.execute(_LIST.where(PUBLISHERS.c.issuer == issuer))
            gone = [_publisher(row) for row in rows]
            named = database.execute(delete(ISSUERS).where(ISSUERS.c.url == issuer)).rowcount
            if not (gone or named):
                raise NotFoundError(f"there is no issuer {issuer[:80]}", hint="ferry admin publisher list")
            now, mine = self.clock(), select(PUBLISHERS.c.credential).where(PUBLISHERS.c.issuer == issuer)
            database.execute(delete(CREDENTIALS).where(CREDENTIALS.c.id.in_(mine)))
            for each in gone:
                record(database, now, actor, "publisher.remove", each.id, repository=each.repository)
            record(database, now, actor, "issuer.remove", issuer)
        return gone

    def listed(self, where: str = "") -> list[Publisher]:
        """Those of a repository, of a namespace, or all, by repository and age."""
        query = _LIST.order_by(PUBLISHERS.c.repository, CREDENTIALS.c.added, CREDENTIALS.c.id)
        if where:
            name = scope(where)
            below = PUBLISHERS.c.repository.startswith(f"{name}/", autoescape=True)
            query = query.where((PUBLISHERS.c.repository == name) | below)
        with reading(self.engine) as database:
            return [_publisher(row) for row in database.execute(query)]

    def issuers(self) -> list[Issuer]:
        """Those that are known: the two that all the world uses, and those that an administrator named."""
        with reading(self.engine) as database:
            return _issuers(database)

    def issuers_in_use(self) -> list[Issuer]:
        """Those that a publisher names."""
        with reading(self.engine) as database:
            used = set(database.execute(select(PUBLISHERS.c.issuer).distinct()).scalars())
            return [each for each in _issuers(database) if each.url in used]

    # --- whom an ID token means ----------------------------------------------------------------------

    def of_issuer(self, issuer: str) -> list[Publisher]:
        """Those whose jobs have their ID tokens of `issuer`, the oldest first."""
        query = _LIST.where(PUBLISHERS.c.issuer == issuer).order_by(CREDENTIALS.c.added, CREDENTIALS.c.id)
        with reading(self.engine) as database:
            return [_publisher(row) for row in database.execute(query)]

    def claim(self, id: str) -> str:
        """How tokens name a publisher; "" if it is not there, or its namespace's owner disabled."""
        with reading(self.engine) as database:
            found = principal_of(database, id, self.clock())
            return found.claim if found else ""

    def stands(self, claim: str) -> bool:
        """Whether a publisher is still there, and its namespace's owner not disabled, nor was since."""
        return bool(self.claim(claim))

    def spend(self, token: IdToken, actor: Actor, repositories: Sequence[str]) -> None:
        """Use the token up for an exchange. DeniedError if it was used in any way.

        Issuer and `jti` are the primary key: of two that spend one at once, in whatever process, one is
        refused. That it was exchanged, and for what, is in the audit log.
        """
        self._check_not_before_restore(token)
        with writing(self.engine) as database:
            if not self._spent(token, "", database):
                raise DeniedError("the ID token's jti was used before: each is good once")
            for name in repositories:
                record(
                    database,
                    self.clock(),
                    actor,
                    "publisher.exchange",
                    f"{token.issuer} {token.subject}",
                    repository=name,
                )

    def use_for(self, token: IdToken, actor: Actor, repository: str) -> None:
        """Use it as a password, for one repository until it is over. DeniedError if it was used otherwise."""
        used = self.check_not_exchanged(token)
        if used is None:
            with writing(self.engine) as database:
                if self._spent(token, repository, database):
                    said = f"{token.issuer} {token.subject}"
                    record(database, self.clock(), actor, "publisher.password", said, repository=repository)
            used = self.check_not_exchanged(token)
        if used != repository:
            raise DeniedError("the ID token's jti was used before: for another repository")

    def check_not_exchanged(self, token: IdToken) -> str | None:
        """For which repository it was used as a password, if it was. DeniedError if it was exchanged."""
        self._check_not_before_restore(token)
        mine = (SPENT_ID_TOKENS.c.issuer == token.issuer) & (SPENT_ID_TOKENS.c.jti == token.jti)
        with reading(self.engine) as database:
            used: str | None = database.execute(select(SPENT_ID_TOKENS.c.repository).where(mine)).scalar()
        if used == "":
            raise DeniedError("the ID token's jti was used before: it was exchanged")
        return used

    def refused(self, actor: Actor, repository: str, why: str) -> None:
        """Write down that somebody's token was refused."""
        with writing(self.engine) as database:
            record(database, self.clock(), actor, "publisher.refuse", why, repository=repository)

    def _spent(self, token: IdToken, repository: str, database: Connection) -> bool:
        """Whether the row is new; those that are over go."""
        change(database, _FORGET, {"now": self.clock()})
        row = {"issuer": token.issuer, "jti": token.jti, "repository": repository}
        add = upsert_for(database.dialect.name, SPENT_ID_TOKENS).values(
            **row, expires=token.expires + SKEW_SECONDS + 1
        )
        return bool(database.execute(add.on_conflict_do_nothing()).rowcount)

    def _check_not_before_restore(self, token: IdToken) -> None:
        if token.issued <= self.since:
            raise DeniedError("the ID token was issued before this registry was restored: get a new one")


_LIST = select(PUBLISHERS, CREDENTIALS.c.added).join(CREDENTIALS, CREDENTIALS.c.id == PUBLISHERS.c.credential)


def differing_in_words(token: IdToken, names: Sequence[str]) -> str:
    """Which claims are not as they have to be, with what the token says; never what a publisher wants."""
    said = []
    for name in names:
        value = token.audience if name == "aud" else token.text(name)
        said.append(f"{name} ({'missing' if value is None else repr(value[:_SHOWN])})")
    return ", ".join(said)


def _keep_issuer(database: Connection, issuer: Issuer) -> None:
    """What an administrator says of an issuer; of one that is known, only what is said anew."""
    said = {"ca": issuer.ca, "jwks": issuer.jwks}
    add = upsert(database, ISSUERS).values(url=issuer.url, **said)
    new = {name: value for name, value in said.items() if value} or {"url": issuer.url}
    database.execute(add.on_conflict_do_update(index_elements=["url"], set_=new))


def _issuers(database: Connection) -> list[Issuer]:
    named = [Issuer(*row) for row in database.execute(select(ISSUERS.c.url, ISSUERS.c.ca, ISSUERS.c.jwks))]
    urls = {each.url for each in named}
    return [*named, *(each for each in WELL_KNOWN if each.url not in urls)]


def _check_room(database: Connection, namespace: int, name: str) -> None:
    of_it = (CREDENTIALS.c.namespace == namespace) & (CREDENTIALS.c.kind == PUBLISHER)
    if database.execute(select(func.count()).where(of_it)).scalar_one() >= MOST_PUBLISHERS:
        raise InvalidError(f"{namespace_of(name)} has {MOST_PUBLISHERS} publishers already")


def _publisher(row: Any) -> Publisher:
    return Publisher(
        row.credential, row.repository, row.issuer, row.audience, json.loads(row.claims), row.added
    )
