"""The token dance, from a challenge to what goes into `Authorization`. Pure: it yields requests and is
sent their answers; the caller does the I/O (PROTOCOL section 4).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode, urlsplit

from registry.auth import ci, signing
from registry.auth.ci import JobIdentity
from registry.auth.keys import PrivateKey
from registry.auth.scopes import Scopes, Wanted
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.errors import DeniedError, InvalidError, ProtocolError, Reason, RegistryError
from registry.wire import faults
from registry.wire.bodies import read_body
from registry.wire.challenges import Challenge
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response
from registry.wire.redirects import Reach

ANSWER_BYTES = 64 * 1024
TOKEN_LENGTH = 32 * 1024
_DEFAULT_SECONDS = 60  # distribution's token specification, `expires_in`
_LONGEST_SECONDS = 24 * 3600
_OVER = ("jti was used before", "exp is over")  # of an ID token, in ferry serve's words
_REFUSED = (400, 401, 403)

# Registries whose token server has another name: a signature for the one may go to the other.
_PAIRS = {
    Origin("https", "registry.ollama.ai", 443): Origin("https", "ollama.com", 443),
    Origin("https", "hf.co", 443): Origin("https", "huggingface.co", 443),
    Origin("https", "registry-1.docker.io", 443): Origin("https", "auth.docker.io", 443),
    Origin("https", "registry.gitlab.com", 443): Origin("https", "gitlab.com", 443),
}


@dataclass(frozen=True, slots=True)
class Authorization:
    """An `Authorization` value, good for `seconds` (None: as long as the secret is).

    `scopes` is what it was asked for; None: it says who we are, and is good for whatever we may do.
    `refusal` is why it is nobody's in particular: the error to raise where that does not suffice.
    `unaccepted` is the error to raise where a registry does not take it at all. `told`: what a person may
    want to know of it.
    """

    authorization: str = field(repr=False)
    seconds: float | None = None
    refusal: DeniedError | None = None
    scopes: Scopes | None = None
    unaccepted: DeniedError | None = None
    told: str = ""

    def serves(self, needed: Scopes) -> bool:
        """Whether it was asked for all that is `needed`."""
        return self.scopes is None or self.scopes.cover(needed)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: for `origin`, with its `secrets`, best first.

    `realms` are other places that may be shown them,
    `now` in Unix seconds, `nonce` fresh for this dance.
    """

    origin: Origin
    secrets: Iterable[Secret]
    realms: Collection[Origin]
    now: float
    nonce: str

    @property
    def host(self) -> str:
        """As messages name it."""
        return self.origin.netloc

    def trusts(self, realm: Origin) -> bool:
        """Whether a signature or secret may be sent to `realm`."""
        if realm == self.origin or realm == _PAIRS.get(self.origin):
            return True
        return realm in self.realms and (self.origin.loopback or Reach.of(realm.host) > Reach.MACHINE)


Dance = Generator[Request, Response, Authorization]
ANYTHING = Wanted()


def dance(challenges: Sequence[Challenge], asker: Asker, wanted: Wanted = ANYTHING) -> Dance:
    """The steps from a 401's challenges to a grant for what they name and what is `wanted` besides.

    DeniedError if the secret is missing or refused, ProtocolError for a challenge or an answer that
    cannot be used, TransientError if the token server is not well.
    """
    bearer = next((one for one in challenges if one.scheme == "bearer"), None)
    if bearer is not None:
        return (yield from _bearer(bearer, asker, wanted))
    if any(one.scheme == "basic" for one in challenges):
        return _basic(asker)
    offered = ", ".join(faults.printable(one.scheme)[:20] for one in challenges) or "nothing"
    raise ProtocolError(
        f"{asker.host} wants to know who asks, and offers {offered}; Ferry speaks Bearer and Basic",
        host=asker.host,
    )


def _basic(asker: Asker) -> Authorization:
    """With the first of our secrets that is a password."""
    for secret in asker.secrets:
        if isinstance(secret, Login):
            refused = _denied(f"{asker.host} does not accept the {_named(secret)}", secret, asker)
            return Authorization(_basic_value(secret), unaccepted=refused)
    raise DeniedError(
        f"{asker.host} wants a user name and a password", reason=Reason.NOT_SIGNED_IN, host=asker.host
    )


def _bearer(challenge: Challenge, asker: Asker, wanted: Wanted) -> Dance:
    """With the first secret that fits; where it may not go there, or no key is known, as nobody.

    A key that is not known says nothing of the next secret, nor does a CI job that may not do this; any other
    that is refused ends it.
    """
    tries = wanted.tries(challenge.get("scope"))
    refusal: DeniedError | None = None
    for secret in asker.secrets:
        if isinstance(secret, JobIdentity):
            found = yield from _as_job(secret, asker, tries, wanted)
            if isinstance(found, Authorization):
                return found
            refusal = found
            continue
        if not challenge.get("realm") and isinstance(secret, ApiKey):
            refused = _denied(f"{asker.host} does not accept the {_named(secret)}", secret, asker)
            return Authorization(f"Bearer {secret.text}", unaccepted=refused)
        realm = _realm(challenge, asker)
        if not asker.trusts(realm):
            refusal = _distrusted(realm, asker, secret)
            break
        for scopes in tries:
            response = yield _request(challenge, secret, asker, _texts(challenge, scopes))
            if response.status not in _REFUSED:
                return _granted(response, realm, asker, scopes | wanted.needed)
            refusal = _refused(response, realm, asker, secret)
        if not isinstance(secret, PrivateKey):
            raise refusal or _distrusted(realm, asker, secret)
    return (yield from _nameless(challenge, asker, tries[-1] | wanted.needed, refusal))


def _as_job(
    job: JobIdentity, asker: Asker, tries: Sequence[Scopes], wanted: Wanted
) -> Generator[Request, Response, Authorization | DeniedError]:
    """By the job's own identity, at the registry itself whatever its challenge names; or why not."""
    refusal = _denied(f"{asker.host} gives this job nothing", job, asker)
    with job.lock:
        for scopes in tries:
            response = yield from ci.exchanged(job, asker.origin, scopes.texts)
            if not ci.refused(response):
                grant = _granted(response, asker.origin, asker, scopes | wanted.needed)
                job.kept.keep(grant.authorization.removeprefix("Bearer "))
                return replace(grant, told=f"{asker.host} knows this {job.system} job by its own identity")
            refusal = _refused(response, asker.origin, asker, job)
    return refusal


def _nameless(challenge: Challenge, asker: Asker, scopes: Scopes, refusal: DeniedError | None) -> Dance:
    """As nobody in particular: to read what is public, or because there is no secret at all."""
    realm = _realm(challenge, asker)
    public = realm.scheme == "https" and Reach.of(realm.host) is Reach.WORLD
    if refusal is not None and not scopes.read_only:
        raise refusal
    if not (asker.trusts(realm) or public):
        raise refusal or _distrusted(realm, asker, None)
    response = yield _anonymous(challenge, _texts(challenge, scopes))
    if response.status in _REFUSED:
        raise refusal or _refused(response, realm, asker, None)
    nobody = _denied(f"{asker.host} wants to know who asks, and there is no key or login for it", None, asker)
    return replace(_granted(response, realm, asker, scopes), refusal=refusal or nobody)


def _realm(challenge: Challenge, asker: Asker) -> Origin:
    try:
        return Origin.of(challenge.get("realm"))
    except InvalidError as error:
        raise ProtocolError(
            f"{asker.host} sends for a token to {error.message}",
            host=asker.host,
            hint="its token realm is set up wrongly",
        ) from None


def _texts(challenge: Challenge, scopes: Scopes) -> list[str]:
    """The scopes to ask for: as the challenge spells them, if there is nothing to add."""
    asked = challenge.get("scope")
    return asked.split() if Scopes.parse(asked) == scopes else scopes.texts


# --- the request for a token ---------------------------------------------------------------------------


def _request(challenge: Challenge, secret: Secret, asker: Asker, scopes: Sequence[str]) -> Request:
    """The token request that shows the secret."""
    realm, service = challenge.get("realm"), challenge.get("service")
    match secret:
        case PrivateKey() as key:
            url = signing.token_url(realm, service, scopes, now=asker.now, nonce=asker.nonce)
            return _get(url, signing.authorization(key, signing.token_text(url)))
        case Login(user=user) as login:
            return _get(_plain_url(challenge, scopes, ("account", user)), _basic_value(login))
        case ApiKey(text=text):
            return _get(_plain_url(challenge, scopes), f"Bearer {text}")
        case IdentityToken(text=text):
            form = {"grant_type": "refresh_token", "service": service, "scope": " ".join(scopes)}
            body = urlencode({**form, "client_id": "ferry", "refresh_token": text}).encode()
            headers = Headers({"Content-Type": "application/x-www-form-urlencoded"})
            return Request("POST", realm.partition("#")[0], headers, body)
        case JobIdentity():
            raise TypeError("a job's identity is exchanged at the registry itself")
        case None:
            return _anonymous(challenge, scopes)


def _anonymous(challenge: Challenge, scopes: Sequence[str]) -> Request:
    return Request("GET", _plain_url(challenge, scopes))


def _get(url: str, authorization: str) -> Request:
    return Request("GET", url, Headers({"Authorization": authorization}))


def _plain_url(challenge: Challenge, scopes: Sequence[str], *more: tuple[str, str]) -> str:
    """The realm with `service` and one `scope` each; a query it has is kept."""
    base = urlsplit(challenge.get("realm"))
    service = [("service", challenge.get("service"))] if challenge.get("service") else []
    pairs = (
        *parse_qsl(base.query, keep_blank_values=True),
        *service,
        *(("scope", scope) for scope in scopes),
        *more,
    )
    return base._replace(query=urlencode(pairs), fragment="").geturl()


def _basic_value(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


# --- its answer ----------------------------------------------------------------------------------------


def _granted(response: Response, realm: Origin, asker: Asker, scopes: Scopes) -> Authorization:
    """The grant in a token server's answer to a request for `scopes`."""
    doing = f"asking {realm.netloc} for a token"
    body = read_body(response, ANSWER_BYTES, doing, asker.host)
    if response.status != 200:
        refusal = faults.Refusal.of(response, body)
        error = faults.error_of(refusal, doing, host=realm.netloc, now=asker.now)
        if error.exit == ProtocolError.exit or response.status >= 500 or response.status in (408, 425, 429):
            raise error
        raise ProtocolError(error.message, host=asker.host, hint="its token realm is set up wrongly")
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if faults.is_web_page(body):
        raise faults.web_page(doing, realm.netloc)
    if not isinstance(token, str) or len(token) > TOKEN_LENGTH or not _one_word(token):
        raise ProtocolError(f"{doing}: the answer has no token in it", host=asker.host)
    return Authorization(f"Bearer {token}", _seconds(answer.get("expires_in")), scopes=scopes)


def _one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return _DEFAULT_SECONDS
    return min(float(value), _LONGEST_SECONDS)


def _refused(response: Response, realm: Origin, asker: Asker, secret: Secret) -> DeniedError:
    """Why nobody gets in with this secret, in the server's own words where it has some."""
    try:
        body = read_body(response, ANSWER_BYTES, "asking for a token", asker.host)
    except RegistryError:
        body = b""
    said = faults.said(body)
    words = f": {told}" if (told := _about_it(said, secret)) else ""
    if secret is None:
        message = (
            f"{realm.netloc} gives no token without a login, and there is no key or login for {asker.host}"
        )
        return _denied(f"{message}{words}", None, asker)
    error = _denied(f"{realm.netloc} does not accept the {_named(secret)}{words}", secret, asker)
    if isinstance(secret, PrivateKey) and "clock" in said.lower():
        error.reason = Reason.CLOCK
    elif isinstance(secret, PrivateKey) and "ask the registry's administrator" in said:  # ferry serve's words
        error.reason = Reason.WITHDRAWN
    elif isinstance(secret, JobIdentity) and secret.id_token and any(each in said for each in _OVER):
        error.reason = Reason.JOB_OVER
        error.message = (
            f"{realm.netloc} does not accept the {_named(secret)}: its one ID token is used up or over, and "
            "no token that came of it is good any more"
        )
    return error


def _about_it(said: str, secret: Secret) -> str:
    """What is said of the secret, naming neither it nor the next step twice: "it is not one …"."""
    named = f"the {_named(secret)} "
    code, _, rest = said.partition(" ")
    told = rest if code.isupper() else said
    if isinstance(secret, ApiKey) and told.startswith("this API key is "):  # which is said of it already
        return ""
    if not told.startswith(named):
        return said
    return f"it {told.removeprefix(named).partition('; connect it: ')[0]}"  # ferry serve's words


def _denied(message: str, secret: Secret, asker: Asker) -> DeniedError:
    """`message`, with the reason that fits this kind of secret."""
    match secret:
        case PrivateKey():
            reason = Reason.KEY_UNKNOWN
        case Login() | IdentityToken():
            reason = Reason.LOGIN_REFUSED
        case ApiKey():
            reason = Reason.API_KEY_REFUSED
        case JobIdentity():
            reason = Reason.JOB_REFUSED
        case None:
            reason = Reason.NOT_SIGNED_IN
    return DeniedError(message, reason=reason, host=asker.host)


def _named(secret: Secret) -> str:
    """The secret, as a sentence may name it."""
    match secret:
        case PrivateKey() as key:
            return f"key {key.public.fingerprint}"
        case Login(user=user):
            return f"password of {faults.printable(user)}"
        case ApiKey():
            return "API key: it is invalid or revoked"
        case IdentityToken():
            return "identity token of the stored login"
        case JobIdentity(system=system):
            return f"identity of this {system} job"
        case None:
            return "question of nobody in particular"


def _distrusted(realm: Origin, asker: Asker, secret: Secret) -> DeniedError:
    """Nothing of ours goes there."""
    match secret:
        case PrivateKey():
            what = "a signature"
        case Login():
            what = "the password"
        case ApiKey() | IdentityToken() | JobIdentity():
            what = "the stored key"
        case None:
            what = "a token"
    message = f"{asker.host} asks for {what} at {realm}, which is another place; none was sent"
    if Reach.of(realm.host) is Reach.MACHINE and not asker.origin.loopback:
        return DeniedError(f"{message}: no registry is believed about such an address", host=asker.host)
    return DeniedError(message, reason=Reason.FOREIGN_REALM, detail=str(realm), host=asker.host)
