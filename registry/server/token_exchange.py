"""A job's ID token for a token of this registry (RFC 8693), and the same as a password (PROTOCOL section 7).

What a job may is looked up whenever its token is used: one whose publisher was removed opens nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from registry.contracts import Actor, Clock
from registry.errors import DeniedError, InvalidError, RegistryError, StorageError, TransientError
from registry.server.documents import STRANGERS_BYTES, STRANGERS_SECONDS, answer
from registry.server.id_tokens import IdToken
from registry.server.issuers import Issuers, KeysNotYetError, issuer_of
from registry.server.job_tokens import JobClaims, JobTokens
from registry.server.names import Names
from registry.server.parameters import Pairs, only, parse_form, scopes_in
from registry.server.principal import Claim
from registry.server.publishers import Publisher, Publishers, differing_in_words
from registry.server.throttle import RateLimit, Throttle
from registry.server.tokens import MOST_SCOPES, Scope
from registry.server.visitor import Visitor
from registry.wire.exchange import ACCESS_TOKEN, GRANT, ID_TOKEN
from registry.wire.faults import answer_to, fault
from registry.wire.messages import Accept, Request, Response, accept_small

_LATER = "temporarily_unavailable"
_CODES = {400: "invalid_request", 403: "access_denied", 429: _LATER, 503: _LATER}  # RFC 6749's words
_ACTIONS = frozenset({"pull", "push"})
_WITHOUT_RIGHTS = (("registry", "catalog"), ("registry", "account"))  # what any token may be for
# A job asks a few times an hour; a whole company's jobs may share one address.
_REFUSED = RateLimit(60)
_WRITTEN = RateLimit(120)  # refusals that go into the audit log, from everywhere
_NAMES_LENGTH = 1_400  # characters of all names that a token has in it: it is to stay below 8 KiB


@dataclass(frozen=True, slots=True)
class Fitting:
    """An ID token that is good, and the publishers whose jobs it speaks for, by repository."""

    token: IdToken
    publishers: Mapping[str, Publisher]


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """Over the publishers of one registry; `clock` in Unix seconds, `names` are the registry's own."""

    publishers: Publishers
    issuers: Issuers
    tokens: JobTokens
    names: Names
    clock: Clock
    throttle: Throttle = field(default_factory=lambda: Throttle(_REFUSED, _REFUSED))
    written: Throttle = field(default_factory=lambda: Throttle(_WRITTEN, _WRITTEN))

    def exchange(self, request: Request, visitor: Visitor) -> Response | Accept:
        """`POST /oauth/token`: a job's token for its ID token, or a fresh one for one that is still good."""

        def then(body: bytes) -> Response:
            try:
                return self._exchanged(parse_form(body), request, visitor)
            except RegistryError as error:
                return _refusal(error)

        return accept_small(then, STRANGERS_BYTES, STRANGERS_SECONDS)

    def _exchanged(self, form: Pairs, request: Request, visitor: Visitor) -> Response:
        if only(form, "grant_type") != GRANT:
            raise InvalidError(f"grant_type is not {GRANT}")
        kind, subject = only(form, "subject_token_type"), only(form, "subject_token")
        scopes = scopes_in(form)
        try:
            self.throttle.guess("exchange", "", visitor.address)
            if kind == ID_TOKEN:
                claims = self._first(subject, scopes, visitor)
            elif kind == ACCESS_TOKEN:
                claims = self._renewed(subject, scopes, visitor)
            else:
                raise InvalidError(f"subject_token_type is neither {ID_TOKEN} nor {ACCESS_TOKEN}")
        except DeniedError as error:
            self.refused(visitor, scopes[0].name if scopes else "", error.message)
            raise
        self.throttle.right("exchange", "", visitor.address)
        token, seconds = self.tokens.issue(str(visitor.here.origin), claims)
        who = Claim.parse(claims.publisher_of("")).id
        request.context.user, request.context.credential = f"publisher:{who}", who
        return answer(
            200,
            {
                "access_token": token,
                "issued_token_type": ACCESS_TOKEN,
                "token_type": "Bearer",
                "expires_in": seconds,
                "scope": " ".join(map(str, claims.access)),
            },
        )

    def _first(self, token: str, scopes: Sequence[Scope], visitor: Visitor) -> JobClaims:
        """What the job may that an ID token speaks for. The token is used up only if it may all it asks."""
        fitting = self.fitting(token, [each.name for each in scopes if each.type == "repository"])
        may = fitting.publishers
        if not scopes:
            scopes = [Scope("repository", name, ("pull", "push")) for name in _short(may)[:MOST_SCOPES]]
        for each in scopes:
            _check_scope(each)
        asked = [each.name.lower() for each in scopes if each.type == "repository"] or [next(iter(may))]
        if len(_short(asked)) < len(asked):
            raise InvalidError("the names of these repositories are too long for one token: ask for fewer")
        first = may[asked[0]]
        actor = Actor(f"publisher:{first.id}", first.id, visitor.address)
        self.publishers.spend(fitting.token, actor, asked)
        known = {name: self.publishers.claim(each.id) for name, each in _asked_first(may, asked)}
        return JobClaims(known, tuple(scopes), self.clock())

    def _renewed(self, token: str, scopes: Sequence[Scope], visitor: Visitor) -> JobClaims:
        """The same again, or other scopes that the first token's job might have had. DeniedError."""
        claims = self.tokens.read(str(visitor.here.origin), token)
        for each in scopes:
            _check_scope(each)
            if each.type == "repository" and each.name.lower() not in claims.publishers:
                raise DeniedError(f"no publisher of {each.name} fits the ID token that this job began with")
        there = {name: each for name, each in claims.publishers.items() if self.publishers.stands(each)}
        wanted = tuple(scopes) or claims.access
        for each in wanted:
            if each.type == "repository" and each.name.lower() not in there:
                raise DeniedError(f"the publisher of {each.name} was removed")
        if not there:
            raise DeniedError("the publishers that this job began with were removed")
        return replace(claims, publishers=there, access=wanted)

    def fitting(self, token: str, repositories: Sequence[str]) -> Fitting:
        """Whom an ID token speaks for, if for all of `repositories`.

        DeniedError names the claims that differ; TransientError while its issuer's keys are being fetched.
        """
        issuer = issuer_of(token, self.publishers.issuers())
        if issuer is None:
            raise DeniedError("the ID token's iss is no issuer that this registry knows")
        known = self.publishers.of_issuer(issuer.url)
        if not known:
            raise DeniedError(f"no publisher here takes ID tokens of {issuer.url}")
        found = self.issuers.verified(token, issuer, self.clock())
        audiences = {str(origin) for origin in self.names.origins}
        wrong = [(each, each.differing(found, audiences)) for each in known]
        fit = [each for each, names in reversed(wrong) if not names and self.publishers.stands(each.id)]
        may = {each.repository: each for each in fit}
        for name in map(str.lower, repositories):
            if name not in may:
                of_it = [(each, names) for each, names in wrong if each.repository == name]
                raise self._unfit(found, f"of {name} ", of_it)
        if not may:
            raise self._unfit(found, "", wrong)
        return Fitting(found, may)

    def by_password(self, token: str, scopes: Sequence[Scope], visitor: Visitor) -> str:
        """The publisher for whose repository an ID token asks for tokens of `/v2/token`; "" where it only
        wants to read what is none of its own.

        The token is good for that until it is over, for the first repository of `scopes` that it may have,
        and for no other one. DeniedError.
        """
        names = [each.name.lower() for each in scopes if each.type == "repository"]
        try:
            self.throttle.guess("exchange", "", visitor.address)
            publisher = self._by_password(token, names, scopes, visitor)
        except DeniedError as error:
            self.refused(visitor, next(iter(names), ""), error.message)
            raise
        self.throttle.right("exchange", "", visitor.address)
        return publisher

    def _by_password(
        self, token: str, names: Sequence[str], scopes: Sequence[Scope], visitor: Visitor
    ) -> str:
        fitting = self.fitting(token, ())
        used = self.publishers.check_not_exchanged(fitting.token)
        if not names:
            return _without_repository(fitting, used)
        first = [used] if used in names else names  # crane asks for two when it mounts, in either order
        mine = next((name for name in first if name in fitting.publishers), None)
        if mine is None:
            if any(each.actions != ("pull",) for each in scopes if each.type == "repository"):
                self.fitting(token, names[:1])  # says what differs
            return ""
        publisher = fitting.publishers[mine]
        if mine != used:
            actor = Actor(f"publisher:{publisher.id}", publisher.id, visitor.address)
            self.publishers.use_for(fitting.token, actor, mine)
        return publisher.id

    def _unfit(
        self, token: IdToken, of: str, differing: Sequence[tuple[Publisher, Sequence[str]]]
    ) -> DeniedError:
        """Why no publisher takes a token, by the one that it comes nearest to."""
        nearest = min(differing, key=lambda pair: len(pair[1]), default=None)
        if nearest is None:
            return DeniedError(f"no publisher {of}takes ID tokens of {token.issuer}")
        publisher, names = nearest
        if not names:
            return DeniedError(f"the publisher {of}belongs to an account that is disabled")
        own = "aud" in names and not publisher.audience
        here = f"; this registry is {self.names.first.base}" if own else ""
        return DeniedError(
            f"the ID token fits no publisher {of}here: what differs is "
            f"{differing_in_words(token, names)}{here}"
        )

    def refused(self, visitor: Visitor, repository: str, why: str) -> None:
        """Have the audit log know, as far as strangers do not fill the disk with it."""
        try:
            self.written.guess("refused", "", "")
            self.publishers.refused(Actor(address=visitor.address), repository, why)
        except (TransientError, StorageError):
            return


def _without_repository(fitting: Fitting, used: str | None) -> str:
    """Whom a token means that asks for no repository: the publisher of that which it was `used` for."""
    name = next(iter(fitting.publishers)) if used is None else used
    if name not in fitting.publishers:
        raise DeniedError(f"no publisher of {name} takes this ID token any more")
    return fitting.publishers[name].id


def _asked_first(may: Mapping[str, Publisher], asked: Sequence[str]) -> Sequence[tuple[str, Publisher]]:
    """The publishers that a token names: those of what was asked for, then others, as many as fit in."""
    rest = [name for name in may if name not in asked]
    return [(name, may[name]) for name in _short([*dict.fromkeys(asked), *rest])[: 2 * MOST_SCOPES]]


def _short(names: Iterable[str]) -> list[str]:
    """The first of the names, as many as a token has room for."""
    known = list(names)
    ends = accumulate(map(len, known))
    return [name for name, end in zip(known, ends, strict=True) if end <= _NAMES_LENGTH]


def _check_scope(scope: Scope) -> None:
    """DeniedError for what no publisher may."""
    if scope.type == "repository" and scope.actions and _ACTIONS.issuperset(scope.actions):
        return
    if (scope.type, scope.name) not in _WITHOUT_RIGHTS:
        raise DeniedError(f"a publisher may not {scope}: it pulls and pushes its repository")


def keys_not_yet(error: KeysNotYetError) -> Response:
    """503: clients ask again by themselves."""
    return fault("UNAVAILABLE", error.message, headers={"Retry-After": f"{error.retry_after or 1:.0f}"})


def _refusal(error: RegistryError) -> Response:
    """An error as OAuth writes it (RFC 6749, section 5.2), with the document that registries have."""
    given = keys_not_yet(error) if isinstance(error, KeysNotYetError) else answer_to(error)
    assert isinstance(given.body, bytes)
    document = json.loads(given.body)
    said = {"error": _CODES.get(given.status, "server_error")}
    said["error_description"] = document["errors"][0]["message"]
    kept = [(name, value) for name, value in given.headers if name == "Retry-After"]
    return answer(given.status, {**said, **document}, kept)
