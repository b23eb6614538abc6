"""Connecting this machine's key to an account, and taking it away again."""

from __future__ import annotations

import contextlib
import platform
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import accounts, identity, values
from cli.accounts import AccountHost
from cli.identity import SigningKey
from cli.options import NETWORK, Invocation, command
from cli.render import complain, visible
from cli.settings import environment, files, machine
from registry.errors import DeniedError, RegistryError
from registry.wire.messages import Request, is_loopback

if TYPE_CHECKING:
    from registry.auth.signin import Caller, Me

_LONGEST_WAIT = 7 * 86400.0
_SHOW_CODE = (("code", "show"),)


@command(*NETWORK)
@click.argument("host", required=False)
@click.option(
    "--give-up-after",
    "patience",
    metavar="10m",
    default="10m",
    help="When nobody approves it; 0: do not wait.",
)
@click.option("--page", is_flag=True, help="Show a link into its pages, good once.")
def signin(invocation: Invocation, host: str | None, patience: str, page: bool) -> int:
    """Connect your key to your account at HOST (else FERRY_REGISTRY, or ollama.com).

    Makes the key if there is none, shows where to approve it, and waits until that is done.

    \b
      ferry signin models.acme.example
      ferry signin models.acme.example --page
    """
    seconds = _patience(patience)
    with accounts.opened(invocation, host) as there:
        if page:
            return _page(invocation, there)
        return _signin(invocation, there, seconds)


@command(*NETWORK)
@click.argument("host", required=False)
def signout(invocation: Invocation, host: str | None) -> None:
    """Disconnect your key from your account at HOST (else FERRY_REGISTRY, or ollama.com).

    What was issued to it ends at once. The key itself stays where it is: ferry signin connects it anew.

    \b
      ferry signout models.acme.example
      ferry signout
    """
    from registry.auth.credentials import Account, Candidate, Why

    with accounts.opened(invocation, host) as there:
        signing = identity.signing_key(invocation, there.opened.credentials, there.origin, make=False)
        if there.is_ollama:
            _signed_out_of_ollama(_caller(there, signing), signing)
        else:
            alone = Account((Candidate(signing.key, Why.GIVEN),))
            there.api_as(alone).disconnect(signing.key.public)
        host_name, fingerprint = there.origin.netloc, signing.key.public.fingerprint
    if invocation.terminal.json:
        invocation.terminal.document({"host": host_name, "fingerprint": fingerprint, "state": "signed out"})
    else:
        invocation.terminal.line(f"signed out of {host_name}: the key {fingerprint} is disconnected there")


def _patience(text: str) -> float:
    found = files.checked(values.seconds(0, _LONGEST_WAIT), text, "--give-up-after", None)
    assert isinstance(found, float)
    return found


def _caller(there: AccountHost, signing: SigningKey) -> Caller:
    from registry.auth.signin import Caller

    return Caller(there.opened.session(there.origin), there.origin, signing.key, time.time)


def _page(invocation: Invocation, there: AccountHost) -> int:
    """Only shown, never handed to a browser: a program's arguments are seen by everybody on a machine."""
    url = there.api.page()
    if invocation.terminal.json:
        invocation.terminal.event({"state": "page", "url": url})
    else:
        invocation.terminal.say(url)
        invocation.terminal.note(
            "ferry: the first browser that opens this link is signed in as you; it is good once, for minutes"
        )
    return 0


def _signin(invocation: Invocation, there: AccountHost, seconds: float) -> int:
    from registry.auth.signin import connect_url, until_approved

    signing = identity.signing_key(invocation, there.opened.credentials, there.origin, make=True)
    caller = _caller(there, signing)
    query = () if there.is_ollama else _SHOW_CODE
    me = caller.me(query)
    if me.name:
        return _approved(invocation, there, signing, me)
    url = connect_url(there.origin, signing.key, platform.node())
    _warn_of_storage(invocation, signing)
    if not _is_there(there, url):
        return _without_page(invocation, there, signing)
    _show(invocation, there, signing, url, me.code, seconds)
    found = until_approved(
        lambda: caller.me(query),
        seconds=seconds,
        clock=time.monotonic,
        sleep=time.sleep,
        note=lambda text: invocation.terminal.note(f"ferry: {visible(text)}; still waiting"),
    )
    return _approved(invocation, there, signing, found) if found else _given_up(invocation, there, signing)


def _show(
    invocation: Invocation, there: AccountHost, signing: SigningKey, url: str, code: str, seconds: float
) -> None:
    """Where to approve the key, which key that is, and for how long it is waited for."""
    terminal = invocation.terminal
    if terminal.json:
        terminal.event({"state": "open", "url": url, "code": code or None, **_about(there, signing)})
        return
    for line in (
        f"Open this in a browser, and approve it there:\n  {url}",
        *((f"The page asks for this code:\n  {visible(code)}",) if code else ()),
        f"It connects the key {signing.key.public.fingerprint}",
        f"  in {visible(signing.where)}, of {visible(machine.account())}"
        f" (home {visible(str(invocation.settings.home))}).",
    ):
        terminal.say(line)
    if not there.is_ollama:
        data = _data_directory(invocation, there) or "DIR"
        terminal.say(
            f"No account there? Its administrator invites you:\n  ferry admin user invite YOU --data {data}"
        )
    if machine.has_screen(environment()) and seconds:
        _open(url)
    if seconds:
        most = f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:.3g} min"
        terminal.note(f"ferry: waiting until it is approved, {most} at most; Ctrl-C ends it")


def _about(there: AccountHost, signing: SigningKey) -> dict[str, object]:
    return {
        "host": there.origin.netloc,
        "fingerprint": signing.key.public.fingerprint,
        "key": str(signing.path) if signing.path else None,
    }


def _open(url: str) -> None:
    """In the person's browser, which neither holds us up nor writes between our lines.

    Where that does not work, the address stands above.
    """
    import subprocess
    import sys

    quiet = subprocess.DEVNULL
    command = (sys.executable, "-m", "webbrowser", url)
    with contextlib.suppress(OSError):
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def _approved(invocation: Invocation, there: AccountHost, signing: SigningKey, me: Me) -> int:
    if invocation.terminal.json:
        invocation.terminal.event({"state": "approved", "name": me.name, **_about(there, signing)})
    else:
        where = f"at {there.origin.netloc} as {visible(me.name)}"
        invocation.terminal.say(f"you are signed in {where}, with the key in {visible(signing.where)}")
    return 0


def _given_up(invocation: Invocation, there: AccountHost, signing: SigningKey) -> int:
    """Nobody approved it in time."""
    host = there.origin.netloc
    error = DeniedError(
        f"nobody approved the key {signing.key.public.fingerprint} at {host}",
        host=host,
        hint=f"the page is good for some minutes more; then ferry signin {host} once more",
    )
    if invocation.terminal.json:
        invocation.terminal.event({"state": "given up", **_about(there, signing)})
    complain(error, invocation.terminal, short=invocation.terminal.json)
    return error.exit


def _is_there(there: AccountHost, page: str) -> bool:
    """Whether a browser would find anything at `page`."""
    try:
        answer = there.opened.session(there.origin)(Request("GET", page))
    except RegistryError:
        return True
    answer.close()
    return answer.status != 404


def _without_page(invocation: Invocation, there: AccountHost, signing: SigningKey) -> int:
    """A registry where nobody can approve a key in a browser: its administrator makes it known."""
    host, public = there.origin.netloc, signing.key.public
    if invocation.terminal.json:
        raise DeniedError(
            f"{host} does not know your key {public.fingerprint}",
            host=host,
            hint=f"give its administrator your public key: {public.line}",
        )
    invocation.terminal.say(f"{host} does not know your key yet; its administrator makes it known:")
    _tell_administrator(invocation, there, signing)
    invocation.terminal.say(f"After that, ferry whoami {host} knows your name.")
    return DeniedError.exit


def _tell_administrator(invocation: Invocation, there: AccountHost, signing: SigningKey) -> None:
    """What an administrator needs, and types."""
    data = _data_directory(invocation, there)
    for line in (
        f"  {signing.key.public.line}",
        "is the line that goes into a file there, say you.pub, and then:",
        f"  ferry admin user add YOU --key you.pub --data {data or 'DIR'}",
        *(() if data else ("where DIR is the directory that it was started with: ferry serve --data DIR",)),
    ):
        invocation.terminal.say(line)


def _data_directory(invocation: Invocation, there: AccountHost) -> str:
    """The registry's, as a shell takes it; known only where somebody said which one is this machine's own."""
    known = invocation.settings.get("data") if is_loopback(there.origin.host) else None
    return shlex.quote(str(Path(known).absolute())) if known else ""


def _warn_of_storage(invocation: Invocation, signing: SigningKey) -> None:
    """A key that goes with its container has to be approved again in the next one."""
    if signing.path is None or not machine.in_container(environment()):
        return
    kind = machine.passing_storage(signing.path.absolute(), machine.mounts())
    if kind:
        invocation.terminal.note(
            f"ferry: {signing.path} is on {kind} storage and goes with this container; "
            "mount a directory for it, or hand the key's text over in FERRY_KEY"
        )


def _signed_out_of_ollama(caller: Caller, signing: SigningKey) -> None:
    """ollama.com takes a signed call for it; nobody else gets one, because it could be passed on there."""
    from registry.wire import faults
    from registry.wire.bodies import read_body

    doing, host = f"signing out at {caller.origin.netloc}", caller.origin.netloc
    response = caller.call("DELETE", f"/api/user/keys/{signing.key.public.connect}")
    body = read_body(response, faults.ERROR_BYTES, doing, host)
    if response.status not in (200, 204):
        raise faults.error_of(faults.Refusal.of(response, body), doing, host=host, now=time.time())
