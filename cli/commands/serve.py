"""The embedded private registry, in the foreground until it is told to stop."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import extra, served
from cli.options import Desk, command
from cli.render import Terminal, date
from registry.errors import InvalidError, StorageError
from registry.wire.messages import is_loopback

if TYPE_CHECKING:
    from registry.server.listener import Address, Served

_LISTEN = "127.0.0.1:5050"
_FIRST_TIDY = 60.0  # seconds until what nobody needs is looked for,
_TIDY_EVERY = 3600.0  # and from then on


@command("data", "plain_http")
@click.option("--listen", metavar="HOST:PORT", help=f"Where to listen [{_LISTEN}]; port 0: any free one.")
@click.option("--public-url", metavar="URL", multiple=True, help="The registry's own name; may be repeated.")
@click.option("--anonymous", metavar="none|read|write", help="What anybody may do: for a lab, no accounts.")
@click.option("--tls-cert", metavar="FILE", help="Speak HTTPS with this certificate (PEM)...")
@click.option("--tls-key", metavar="FILE", help="...and its key.")
@click.option("--log-format", metavar="text|json", help="One line for each request, on standard error.")
@click.option("--capability-days", metavar="N", help="How long a stock client's download may take [7].")
@click.option(
    "--direct-upload", is_flag=True, help="Let clients that ask put a whole blob at once, by a link."
)
def serve(desk: Desk) -> None:
    """Run the embedded private registry until SIGTERM or Ctrl-C.

    \b
      ferry serve
      ferry serve --data /srv/ferry --public-url https://models.acme.example
    """
    extra.need_server("ferry serve")
    from registry.server.accounts import Right
    from registry.server.service import Plan, Service

    settings, terminal = desk.settings, desk.terminal
    plan = Plan(
        served.directory(desk),
        _address(desk),
        settings.get("public_url", ()),
        Right.parse(settings.get("anonymous", "none")),
        settings.get("capability_days", 7),
        _Log(terminal, settings.get("log_format", "text")),
        settings.on("direct_upload"),
    )
    service = Service(plan)
    stopped = _when_told()
    where = service.start()
    _say_ready(desk, where, plan.directory)
    if plan.anonymous is Right.NONE and not service.accounts.any():
        terminal.note("ferry serve: nobody has an account yet; make one: ferry admin user add --help")
    pause = _FIRST_TIDY
    while not stopped.wait(pause):
        pause = _TIDY_EVERY
        try:
            service.depot.collect()
        except StorageError as error:
            terminal.complain(f"ferry serve: tidying up: {error.message}")
    service.stop()  # Ctrl-C does not come here: it drops what is running, and loses nothing that was answered


def _say_ready(desk: Desk, where: str, directory: Path) -> None:
    if desk.terminal.json:
        desk.terminal.document({"url": where, "data": str(directory)})
    else:
        desk.terminal.line(f"ferry serve: ready on {where} with the data in {directory}")
        desk.terminal.out.flush()


def _when_told() -> threading.Event:
    """Set by SIGTERM: then running requests end, and so does the process, with 0."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stopped.set())
    return stopped


def _address(desk: Desk) -> Address:
    """Where to listen; InvalidError for what would let secrets cross a network unprotected, or unnamed."""
    from registry.server.listener import Address, tls_from

    settings = desk.settings
    host, port = _split(settings.get("listen", _LISTEN))
    certificate, key = settings.get("tls_cert"), settings.get("tls_key")
    if bool(certificate) != bool(key):
        raise InvalidError("--tls-cert and --tls-key go together", hint="give both, or neither")
    if not is_loopback(host):
        if not settings.get("public_url"):
            raise InvalidError(
                f"{host} is not a loopback address, so the registry cannot know its own name",
                hint="say it: --public-url https://models.acme.example",
            )
        if not certificate and not settings.on("plain_http"):
            raise InvalidError(
                f"plain HTTP on {host} would let others read and change what passes",
                hint="give --tls-cert and --tls-key; or --plain-http, if a proxy in front speaks HTTPS",
            )
    return Address(host, port, tls_from(Path(certificate), Path(key)) if certificate else None)


def _split(listen: str) -> tuple[str, int]:
    """`HOST:PORT`, IPv6 in brackets."""
    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InvalidError(f"--listen {listen}: not HOST:PORT", hint="for example 127.0.0.1:5050")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Log:
    """One line for each request, as text or JSON; the library has taken the secrets out."""

    def __init__(self, terminal: Terminal, form: str) -> None:
        self._terminal = terminal
        self._json = form == "json"

    def __call__(self, request: Served) -> None:
        moment = date(time.time())
        if not self._json:
            self._terminal.note(
                f"{moment} {request.peer} {request.method} {request.path} {request.status} "
                f"{request.received}>{request.sent} {request.seconds:.3f}s"
            )
            return
        line = {
            "time": moment,
            "peer": request.peer,
            "method": request.method,
            "path": request.path,
            "status": request.status,
            "received": request.received,
            "sent": request.sent,
            "seconds": round(request.seconds, 4),
        }
        self._terminal.note(json.dumps(line))
