"""Who a registry takes us for, and what to do when it knows nothing of us."""

from __future__ import annotations

import json
import platform
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import click

from cli import identity, sources, values
from cli.options import NETWORK, Invocation, command
from cli.render import visible
from registry.auth import signing
from registry.errors import DeniedError, NotFoundError, ProtocolError, RegistryError
from registry.model.names import DEFAULT_HOST, split_scheme
from registry.targets.peer import Peer
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, is_loopback

_ANSWER_BYTES = 64 * 1024
# Where people have their accounts, when that is not where the models are.
_ACCOUNTS_OF = {DEFAULT_HOST: "ollama.com"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What `/api/me` said to our signature: a name, or "" for an unknown key.

    `connect` is the page where a key is approved, or "" where there is no such page.
    """

    origin: Origin
    name: str
    fingerprint: str
    public_line: str
    connect: str

    def document(self) -> dict[str, object]:
        return {"host": self.origin.netloc, "name": self.name, "fingerprint": self.fingerprint}


@command(*NETWORK)
@click.argument("host", required=False)
def whoami(invocation: Invocation, host: str | None) -> None:
    """Say who HOST takes you for (else FERRY_REGISTRY, or ollama.com).

    \b
      ferry whoami models.acme.example
      ferry whoami models.acme.example --format json
    """
    answer = _ask(invocation, host, make_key=False)
    if not answer.name:
        raise DeniedError(
            f"{answer.origin.netloc} does not know your key {answer.fingerprint}",
            host=answer.origin.netloc,
            hint=f"ferry signin {answer.origin.netloc} says what to do",
        )
    _tell(
        invocation,
        answer,
        f"{visible(answer.name)} at {answer.origin.netloc}, with the key {answer.fingerprint}",
    )


@command(*NETWORK)
@click.argument("host", required=False)
def signin(invocation: Invocation, host: str | None) -> int:
    """Let HOST (else FERRY_REGISTRY, or ollama.com) know your key: says what to do.

    \b
      ferry signin models.acme.example
      ferry signin
    """
    answer = _ask(invocation, host, make_key=True)
    if answer.name:
        _tell(invocation, answer, f"you are signed in at {answer.origin.netloc} as {visible(answer.name)}")
        return 0
    if invocation.terminal.json:
        raise DeniedError(
            f"{answer.origin.netloc} does not know your key {answer.fingerprint}",
            host=answer.origin.netloc,
            hint=f"open {answer.connect} in a browser and approve it there"
            if answer.connect
            else f"give its administrator your public key: {answer.public_line}",
        )
    # Its data is known only where somebody said which registry is this machine's own.
    known = invocation.settings.get("data") if is_loopback(answer.origin.host) else None
    data = shlex.quote(str(Path(known).absolute())) if known else ""
    unknown = f"{answer.origin.netloc} does not know your key yet."
    page = (f"{unknown} Open this in a browser, and approve it there:", f"  {answer.connect}")
    for line in (
        *(page if answer.connect else (unknown,)),
        f"{'or give' if answer.connect else 'Give'} its administrator this line in a file, say you.pub:",
        f"  {answer.public_line}",
        "who then runs, where the registry is:",
        f"  ferry admin user add YOU --key you.pub --data {data or 'DIR'}",
        *(() if data else ("where DIR is the directory that it was started with: ferry serve --data DIR",)),
        f"After that, ferry whoami {answer.origin.netloc} knows your name.",
    ):
        invocation.terminal.line(line)
    return DeniedError.exit


def _tell(invocation: Invocation, answer: _Answer, line: str) -> None:
    if invocation.terminal.json:
        invocation.terminal.document(answer.document())
    else:
        invocation.terminal.line(line)


def _ask(invocation: Invocation, host: str | None, *, make_key: bool) -> _Answer:
    """Ask `/api/me`, with a signature that this host and minute are good for (PROTOCOL section 4)."""
    scheme, bare = split_scheme(str(values.host(host or invocation.settings.registry)))
    with sources.connections(invocation) as opened:
        origin = opened.origin_of(_ACCOUNTS_OF.get(bare, bare), scheme)
        key = identity.signing_key(invocation, opened.credentials, origin, make=make_key)
        target = signing.call_target("/api/me", now=time.time())
        headers = Headers({"Authorization": signing.authorization(key, signing.call_text("POST", target))})
        peer = Peer(opened.session(origin), origin)
        name = _named(peer, peer.transport(Request("POST", f"{origin}{target}", headers)))
        machine = quote(platform.node() or "ferry", safe="")
        connect = f"{origin}/connect?name={machine}&key={key.public.connect}"
        if not name and make_key and not _is_there(peer, connect):
            connect = ""
    return _Answer(origin, name, key.public.fingerprint, key.public.line, connect)


def _named(peer: Peer, response: Response) -> str:
    """The name in the answer, "" for a key that is nobody's; the error any other answer means."""
    doing = f"asking {peer.host} who we are"
    if response.status == 404:
        raise NotFoundError(
            f"{doing}: it keeps no accounts of this kind",
            host=peer.host,
            hint="plain registries take the login that docker or podman made",
        )
    if response.status not in (200, 401):
        raise peer.error_of(peer.refusal(response, doing), doing)
    answer = _object(peer.read(response, _ANSWER_BYTES, doing))
    name, error = answer.get("name"), answer.get("error", "unauthorized")
    if response.status == 401 and error == "unauthorized":
        return ""
    if response.status == 401:
        hint = "" if "administrator" in str(error) else "check this machine's clock, and --key"
        raise DeniedError(f"{doing}: {error}", host=peer.host, hint=hint)
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"{doing}: the answer has no name in it", host=peer.host)
    return name


def _is_there(peer: Peer, page: str) -> bool:
    """Whether a browser would find anything at `page`."""
    try:
        answer = peer.transport(Request("GET", page))
    except RegistryError:
        return True
    answer.close()
    return answer.status != 404


def _object(raw: bytes) -> Mapping[str, object]:
    """A JSON object, empty if it is none."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
