"""A user name and password, or an API key, kept for a registry: tried before it is."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cli import sources
from cli.options import NETWORK, Invocation, command
from cli.settings import credentials as kept
from cli.settings import environment, logins
from registry.auth.prefixes import Prefix, origin_of
from registry.errors import InvalidError, NotFoundError
from registry.model.names import Name
from registry.wire.messages import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from registry.auth.credentials import StoredLogin
    from registry.auth.docker import DockerLogin
    from registry.connect import Registries

_MOST = 8 * 1024
_ANYBODY = "ferry"  # the user name beside an API key where a helper wants one: any is right


@command(*NETWORK)
@click.argument("place", metavar="HOST[/NAMESPACE]")
@click.option("-u", "--username", metavar="USER", help="With --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--api-key-stdin", is_flag=True, help="Read an API key from standard input.")
def login(
    invocation: Invocation, place: str, username: str | None, password_stdin: bool, api_key_stdin: bool
) -> None:
    """Keep a password or an API key for HOST, or for one namespace there, once it was tried.

    \b
      ferry login models.acme.example --api-key-stdin < api-key
      ferry login ghcr.io -u ada --password-stdin < password
    """
    where = _Place.of(place)
    where.check()
    secret = _read(username, password_stdin, api_key_stdin)
    with sources.connections(invocation) as opened:
        origin = where.origin(opened)
        proven = _tried(opened, origin, secret)
    at = _keep(invocation, where, origin, secret)
    if not proven:
        invocation.terminal.note(f"ferry: {origin.netloc} asks nobody who they are: it could not be tried")
    document = {"host": origin.netloc, "namespace": where.namespace or None, "kept": at, "tried": proven}
    invocation.terminal.answer(document, f"logged in at {where.text}; kept in {at}")


@command()
@click.argument("place", metavar="HOST[/NAMESPACE]")
def logout(invocation: Invocation, place: str) -> None:
    """Forget the login for HOST, or for one namespace there. At the registry nothing changes.

    \b
      ferry logout models.acme.example
      ferry logout models.acme.example/acme
    """
    where = _Place.of(place)
    folder = _folder(invocation)
    gone = str(folder / kept.NAME) if _forget(folder, where) else ""
    helper = None if gone else _helper(invocation, where, origin_of(where.address))
    if helper and logins.ask_helper(helper.program, helper.server) is not None:
        logins.tell_helper(helper.program, "erase", helper.server)
        gone = helper.program
    if not gone:
        raise NotFoundError(f"there is no login of Ferry's for {where.text}", host=where.host)
    document = {"host": where.host, "namespace": where.namespace or None, "forgotten": gone}
    invocation.terminal.answer(document, f"forgot the login for {where.text}, in {gone}")


@dataclass(frozen=True, slots=True)
class _Place:
    """What a login is for, as it was written."""

    scheme: str
    host: str
    namespace: str

    @classmethod
    def of(cls, text: str) -> _Place:
        prefix = Prefix.parse(text)
        return cls(prefix.scheme, prefix.host, prefix.path)

    def check(self) -> None:
        """InvalidError where no model's name could begin with it: its login would never be used."""
        Name(self.host, self.namespace or "any")

    @property
    def text(self) -> str:
        return f"{self.host}/{self.namespace}" if self.namespace else self.host

    @property
    def address(self) -> str:
        """The host, with its scheme where one was written."""
        return f"{self.scheme}://{self.host}" if self.scheme else self.host

    @property
    def spellings(self) -> tuple[str, ...]:
        """How it may stand in the file."""
        return (self.text, f"https://{self.text}", f"http://{self.text}")

    def origin(self, opened: Registries) -> Origin:
        return opened.origin_of(self.host, self.scheme)

    def key(self, origin: Origin) -> str:
        """How it is to stand in the file: with its scheme where that is not the usual one."""
        from registry.auth.credentials import stored_for

        usual = stored_for(self.text).scheme == origin.scheme
        return self.text if usual else f"{origin.scheme}://{self.text}"


def _read(username: str | None, password_stdin: bool, api_key_stdin: bool) -> StoredLogin:
    """The secret on standard input: never an argument, which everybody on a machine can see."""
    from registry.auth.secrets import ApiKey, Login

    if password_stdin == api_key_stdin or password_stdin != bool(username):
        raise InvalidError(
            "a login is -u USER and --password-stdin, or --api-key-stdin",
            hint="the secret is read from standard input, where nobody else on this machine sees it",
        )
    if sys.stdin.isatty():
        text = click.prompt("API key" if api_key_stdin else "Password", hide_input=True, err=True)
    else:
        text = sys.stdin.buffer.read(_MOST + 1).decode("utf-8", "replace")
    text = str(text).strip("\r\n")
    if not text:
        raise InvalidError("standard input is empty: the secret that it should bring is missing")
    return ApiKey(text.strip()) if api_key_stdin else Login(str(username), text)


def _tried(opened: Registries, origin: Origin, secret: StoredLogin) -> bool:
    """Whether it is accepted; False where nobody is asked who they are. DeniedError where it is refused."""
    from registry.auth.credentials import OLLAMA_API, Account, Candidate, Why
    from registry.auth.secrets import ApiKey
    from registry.auth.signin import ollama_api_key
    from registry.targets.peer import Peer

    session = opened.session_as(origin, Account((Candidate(secret, Why.OWN),)))
    if origin == OLLAMA_API and isinstance(secret, ApiKey):
        ollama_api_key(session, origin, secret, time.time())
        return True
    doing = f"trying the login at {origin.netloc}"
    answer = Peer(session, origin).ask("GET", "/v2/", doing, ok=(200, 404))
    answer.close()
    return session.accepted


def _keep(invocation: Invocation, where: _Place, origin: Origin, secret: StoredLogin) -> str:
    """Keep it, and say where: in docker's helper where one is configured, which knows hosts only."""
    from registry.auth.secrets import IdentityToken, Login

    folder = _folder(invocation)
    helper = _helper(invocation, where, origin)
    if helper is None or isinstance(secret, IdentityToken):
        return str(kept.keep(folder, where.key(origin), secret))
    login = secret if isinstance(secret, Login) else Login(_ANYBODY, secret.text)
    document = {"ServerURL": helper.server, "Username": login.user, "Secret": login.password}
    logins.tell_helper(helper.program, "store", json.dumps(document))
    _forget(folder, where)  # an older one would be asked first
    return helper.program


def _forget(folder: Path, where: _Place) -> bool:
    forgotten = [kept.forget(folder, key) for key in where.spellings]  # all of them
    return any(forgotten)


def _folder(invocation: Invocation) -> Path:
    folder = invocation.settings.config
    if folder is None:
        raise InvalidError(
            "looking for a place for logins: this user has no home directory",
            hint="set XDG_CONFIG_HOME, or hand an API key over in FERRY_API_KEY",
        )
    return folder


def _helper(invocation: Invocation, where: _Place, origin: Origin) -> DockerLogin | None:
    """The helper that keeps docker's logins for this host, if there is one."""
    plain_over_network = origin.scheme == "http" and not origin.loopback  # nothing of docker's goes there
    if where.namespace or plain_over_network:
        return None
    return logins.helper_for(environment(), invocation.settings.home, origin)
