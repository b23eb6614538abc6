"""The local gateway to cloud models, in the foreground until it is told to stop."""

from __future__ import annotations

import platform
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import extra, identity, sources, values
from cli.allocator import keep_no_more_than_buffers, look_less_for_cycles
from cli.options import Invocation, command
from cli.render import Terminal, complain, visible
from cli.serving import ServerSignals, host_and_port
from cli.settings import cloud, credentials, environment
from registry.errors import DeniedError, InvalidError, Reason, RegistryError, StorageError
from registry.model.names import split_scheme
from registry.wire.messages import Origin, is_loopback

if TYPE_CHECKING:
    from cli.log import Log
    from registry.auth.credentials import Account, Credentials
    from registry.auth.secrets import Secret
    from registry.connect import Registries
    from registry.connect_gateway import GatewayPlan
    from registry.net.listener.record import AccessRecord

_LISTEN = "127.0.0.1:11436"
_TO = "https://ollama.com"
_FOR_EVER = 3600.0
_TOKEN_BYTES = 24
_TOKEN_FILE_BYTES = 256
_SHOWN = 120  # characters of a model's name in the log


@command("key", "tls_ca", "insecure_tls")
@click.option(
    "--listen", "listening", metavar="HOST:PORT", default=_LISTEN, help=f"[{_LISTEN}]; port 0: any."
)
@click.option("--to", metavar="URL", default=_TO, help=f"Where the models are [{_TO}].")
@click.option("--token", "wants_token", is_flag=True, help="Programs must bring a token; it is shown.")
def gateway(invocation: Invocation, listening: str, to: str, wants_token: bool) -> None:
    """Give local programs cloud models without a password, until SIGTERM or Ctrl-C.

    It signs what passes with your key, or adds your API key. Point a program at it: OLLAMA_HOST, or an
    OpenAI or Anthropic base URL. --token where other people use this machine.

    \b
      ferry gateway
      ferry gateway --token --listen 127.0.0.1:8080
    """
    extra.need_server("ferry gateway", ("aiohttp",))
    from cli.log import Log
    from registry.connect_gateway import GatewayServer
    from registry.net.listener.limits import raise_descriptor_limit

    terminal = invocation.terminal
    raise_descriptor_limit()
    keep_no_more_than_buffers()
    write = _unless_nobody_reads(terminal) if terminal.json else terminal.complain
    log = Log(write, as_json=terminal.json, quiet=terminal.quiet, text=_text, fields=_fields)
    with sources.connections(invocation) as connections:
        plan = _plan_of(invocation, connections, listening, to, log)
    if wants_token:
        plan = replace(plan, token=_token(invocation))
    signals = ServerSignals(signal.SIGTERM)
    running = GatewayServer(plan)
    url = running.start()
    log.start()
    look_less_for_cycles()
    _say_ready(invocation, url, plan)
    while not signals.stopped(_FOR_EVER):
        pass
    running.stop()
    log.close()


def _plan_of(
    invocation: Invocation, connections: Registries, listening: str, to: str, log: Log
) -> GatewayPlan:
    """What is asked of whom, as the settings say. InvalidError, DeniedError."""
    from registry.connect_gateway import GatewayPlan
    from registry.net.listener.address import Address

    host, port = host_and_port("--listen", listening)
    if not is_loopback(host):
        raise InvalidError(
            f"{host} is not this machine's loopback: everybody who reaches the gateway speaks as you",
            hint=f"--listen {_LISTEN}; from another machine, through ssh -L 11436:{_LISTEN}",
        )
    scheme, bare = split_scheme(str(values.host(to.rstrip("/"))))
    origin = connections.origin_of(bare, scheme)
    if origin.scheme == "http" and not origin.loopback:
        raise InvalidError(f"--to {origin}: in plain HTTP others would read what passes", hint="say https://")
    disabled, source = cloud.switched_off(environment(), invocation.settings.home)
    known = _secrets(invocation, connections.credentials, origin)
    return GatewayPlan(
        origin,
        connections.network(origin),
        known,
        Address(host, port),
        platform.node(),
        log.request,
        invocation.terminal.mask,
        ChangedSecrets(invocation, origin),
        disabled=disabled,
        source=source,
    )


class ChangedSecrets:
    """Our secrets at `origin`, where a file that holds one has changed since it was looked at."""

    def __init__(self, invocation: Invocation, origin: Origin) -> None:
        settings = invocation.settings
        paths = {*settings.api_key_files.values(), *settings.account_api_keys.values(), settings.key_file()}
        if settings.config is not None:
            paths.add(settings.config / credentials.NAME)
        self._paths = sorted(path for path in paths if path is not None)
        self._invocation = invocation
        self._origin = origin
        self._seen = self._look()

    def __call__(self) -> tuple[Secret, ...] | None:
        """Them, or None where nothing has changed, or what is there now cannot be used (which is said)."""
        now = self._look()
        if now == self._seen:
            return None
        self._seen = now
        try:
            return _secrets(self._invocation, identity.credentials(self._invocation), self._origin)
        except RegistryError as error:
            complain(error, self._invocation.terminal, short=False)
            return None

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What is another number once a file, or what a link leads to, was written, or its mode changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


def _secrets(invocation: Invocation, known: Credentials, origin: Origin) -> tuple[Secret, ...]:
    """Our keys and API keys there, best first. DeniedError without one."""
    from registry.connect_gateway import usable

    account = _without_docker(known.account(origin))
    found = tuple(usable(account.secrets(lambda _fault: None), origin))
    if found:
        return found
    host = origin.netloc
    if next(account.secrets(lambda _fault: None), None) is not None:
        raise DeniedError(
            f"{host} needs an API key, and none is known for it: a signature could be used elsewhere",
            host=host,
            hint=f"ferry login {host} --api-key-stdin",
        )
    raise DeniedError(
        f"asking {host}: there is no usable key at {invocation.settings.key_file()}, and no API key",
        host=host,
        reason=Reason.NOT_SIGNED_IN,
    )


def _without_docker(account: Account) -> Account:
    """Whom docker's logins know is nobody at an API; their programs are not asked."""
    from registry.auth.credentials import Why

    return replace(
        account, candidates=tuple(each for each in account.candidates if each.why is not Why.DOCKER)
    )


def _token(invocation: Invocation) -> str:
    """What programs must bring: the same from run to run, as it stands in their settings."""
    from registry.disk.secrets import create_once, read_secret

    state, fresh = invocation.settings.state, secrets.token_urlsafe(_TOKEN_BYTES)
    if state is None:
        return fresh
    path = state / "gateway-token"
    create_once(path, fresh.encode(), secrets.token_hex(8))
    return (read_secret(path, _TOKEN_FILE_BYTES) or fresh.encode()).decode("ascii", "replace").strip()


def _say_ready(invocation: Invocation, url: str, plan: GatewayPlan) -> None:
    terminal = invocation.terminal
    if terminal.json:
        terminal.event({"url": url, "to": str(plan.to), "token": plan.token or None})
    else:
        terminal.say(f"ferry gateway: ready on {url}, for models of {plan.to}")
        if plan.token:
            terminal.say(f"token: {plan.token}")
        terminal.note(f"ferry: Ollama's programs take OLLAMA_HOST={url}, OpenAI's the base URL {url}/v1")
    if plan.disabled:
        terminal.complain(f"ferry: cloud models are switched off by {plan.disabled}: nothing is passed on")


def _unless_nobody_reads(terminal: Terminal) -> Callable[[str], None]:
    """Lines of standard output that go on to be written where nobody reads them any more."""

    def write(text: str) -> None:
        with suppress(OSError, StorageError):
            terminal.say(text)

    return write


def _text(request: AccessRecord) -> str:
    """A line for a request: nothing of anybody's but the model's name."""
    model = visible(request.repository[:_SHOWN]).replace(" ", "\\x20") or "-"
    cut = "" if request.whole else " cut"
    return (
        f"{request.method or '-'} {request.route} {model} {request.status} "
        f"{request.received}>{request.sent}{cut} {request.seconds:.3f}s"
    )


def _fields(request: AccessRecord) -> dict[str, object]:
    return {
        "method": request.method,
        "route": request.route,
        "model": request.repository[:_SHOWN] or None,
        "status": request.status,
        "received": request.received,
        "sent": request.sent,
        "whole": request.whole,
        "seconds": round(request.seconds, 4),
    }
