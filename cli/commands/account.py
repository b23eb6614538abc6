"""Who a registry takes us for, with which credential, and why that one was chosen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli import accounts, identity
from cli.accounts import AccountHost
from cli.options import NETWORK, Invocation, command
from cli.render import visible
from registry.errors import DeniedError, NotFoundError, Reason
from registry.model.names import Name, split_scheme

if TYPE_CHECKING:
    from registry.auth.account import Document
    from registry.auth.credentials import Account, Candidate
    from registry.auth.keys import PrivateKey
    from registry.auth.secrets import Secret


@command(*NETWORK)
@click.argument("place", metavar="[HOST[/NAMESPACE]]", required=False)
def whoami(invocation: Invocation, place: str | None) -> None:
    """Say who HOST takes you for (else FERRY_REGISTRY, or ollama.com), and by which credential.

    With a NAMESPACE: in its models, where you may have another account.

    \b
      ferry whoami models.acme.example
      ferry whoami models.acme.example/acme --format json
    """
    host, namespace = _split(place)
    with accounts.opened(invocation, host) as there:
        answer, candidate = _known(invocation, there, namespace)
    credential = answer["credential"]
    assert isinstance(credential, dict)
    shown = str(credential.get("shown") or "")
    fingerprint = shown if shown.startswith("SHA256:") else None
    chosen = identity.chosen(invocation, candidate)
    document = {**answer, "host": there.origin.netloc, "fingerprint": fingerprint, "chosen": chosen}
    if namespace:
        document["namespace"] = namespace
    if invocation.terminal.json:
        invocation.terminal.document(document)
        return
    for line in _told(document, credential, shown):
        invocation.terminal.line(visible(line))


def _told(document: Document, credential: Document, shown: str) -> Iterator[str]:
    name = document["name"] or "somebody (it does not say who)"
    kind = "the key" if document["fingerprint"] else "the API key that ends in" if shown else "a login"
    if credential.get("kind") == "publisher":
        kind = "the identity of this CI job"
    yield f"{name} at {document['host']}, with {kind} {shown}".rstrip()
    if credential.get("id"):
        note = f" ({credential['note']})" if credential.get("note") else ""
        expires = f", good until {credential['expires']}" if credential.get("expires") else ""
        scopes = credential.get("scopes")
        allowed = f", for {', '.join(map(str, scopes))}" if isinstance(scopes, list) and scopes else ""
        yield f"  credential {credential['id']}{note}{allowed}{expires}"
    yield f"  chosen: {document['chosen']}"


def _split(place: str | None) -> tuple[str | None, str]:
    """The host as it was written, and the namespace or repository, "" for none. InvalidError."""
    scheme, rest = split_scheme(place or "")
    host, _, namespace = rest.partition("/")
    namespace = namespace.strip("/")
    if not place or not namespace:
        return place, ""
    Name(host, namespace)  # or no model's name could begin so
    return f"{scheme}://{host}" if scheme else host, namespace


def _known(invocation: Invocation, there: AccountHost, namespace: str) -> tuple[Document, Candidate]:
    """Who we are in a namespace ("": none in particular) by the first of our secrets that is known there.

    DeniedError when we are nobody; for a secret that is refused, as any other command would end.
    """
    unknown: DeniedError | None = None
    for candidate, account in there.opened.credentials.account(there.origin, namespace).each():
        try:
            found = _asked(there, account)
        except DeniedError as error:
            if error.reason not in (Reason.KEY_UNKNOWN, Reason.JOB_REFUSED, Reason.JOB_OVER):
                raise  # those say nothing of the next secret
            unknown = unknown or error
            continue
        if found is not None:
            return found, candidate
    if unknown is not None:
        raise unknown
    identity.signing_key(
        invocation, there.opened.credentials, there.origin, make=False
    )  # says what is missing
    raise DeniedError(
        f"there is no key or login for {there.origin.netloc}",
        reason=Reason.NOT_SIGNED_IN,
        host=there.origin.netloc,
    )


def _asked(there: AccountHost, account: Account) -> Document | None:
    """What the registry says of the account's one secret; None where a helper knows none."""
    from registry.auth.keys import PrivateKey

    secret = next(account.secrets(lambda _text: None), None)
    if secret is None:
        return None
    if not there.is_ollama:
        try:
            return there.api_as(account).me()
        except NotFoundError:
            pass  # a registry of another kind, or an earlier `ferry serve`
        except DeniedError as error:
            if error.reason is Reason.KEY_UNKNOWN and isinstance(secret, PrivateKey):
                raise _unknown(there, secret) from None
            raise
    return _plainly(there, secret)


def _plainly(there: AccountHost, secret: Secret) -> Document:
    """By `/api/me`, which ollama.com and every earlier `ferry serve` have."""
    from registry.auth.keys import PrivateKey
    from registry.auth.secrets import ApiKey
    from registry.auth.signin import Caller, ollama_api_key

    host = there.origin.netloc
    if isinstance(secret, PrivateKey):
        me = Caller(there.opened.session(there.origin), there.origin, secret, time.time).me()
        if not me.name:
            raise _unknown(there, secret)
        return _document(me.name, me.id, "machine", secret.public.fingerprint)
    if isinstance(secret, ApiKey) and there.is_ollama:
        name = ollama_api_key(there.opened.session(there.origin), there.origin, secret, time.time())
        return _document(name, "", "api", secret.text[-4:])
    raise NotFoundError(
        f"asking {host} who we are: it keeps no accounts of this kind",
        host=host,
        hint="plain registries take a login, and do not say whose it is",
    )


def _unknown(there: AccountHost, key: PrivateKey) -> DeniedError:
    host = there.origin.netloc
    message = f"{host} does not know your key {key.public.fingerprint}"
    return DeniedError(message, host=host, reason=Reason.KEY_UNKNOWN)


def _document(name: str, id: str, kind: str, shown: str) -> Document:
    return {"id": id, "name": name, "credential": {"kind": kind, "shown": shown}}
