"""The embedded private registry, in the foreground until it is told to stop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import data_directory, extra, sources
from cli.allocator import keep_no_more_than_buffers, look_less_for_cycles
from cli.log import Log
from cli.options import Invocation, choices, command
from cli.serving import CertificateDates, ServerSignals, host_and_port
from registry.disk import files
from registry.errors import InvalidError, StorageError
from registry.wire.messages import is_loopback

if TYPE_CHECKING:
    from registry.net.listener.address import Address
    from registry.server.service import Plan

_LISTEN = "127.0.0.1:5050"
_SCRUB = 30 * 86400.0


@command("data", "plain_http")
@click.option("--listen", metavar="HOST:PORT", help=f"[{_LISTEN}]; port 0: any.")
@click.option("--public-url", metavar="URL", multiple=True, help="Its own name; may be repeated.")
@click.option(
    "--anonymous", **choices("none", "read", "write"), help="What anybody may do, without accounts."
)
@click.option("--tls-cert", metavar="FILE", help="Speak HTTPS with this certificate (PEM)...")
@click.option("--tls-key", metavar="FILE", help="...and its key.")
@click.option("--log-format", **choices("text", "json"), help="How each request is written down.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="Metrics here, and nowhere else.")
@click.option("--trusted-proxy", metavar="CIDR", multiple=True, help="Believe its --proxy-header; repeated.")
@click.option("--proxy-header", metavar="NAME", hidden=True, help="Where it says who asks [X-Forwarded-For].")
@click.option("--capability-days", metavar="N", help="A stock client's download may take [7].")
@click.option("--max-key-days", metavar="N", hidden=True, help="The longest an API key is good [365].")
@click.option("--min-free", metavar="SIZE", help="Take nothing below this [1G, 5%].")
@click.option("--scrub", metavar="30d", help="Read blobs again; 0: never [30d].")
@click.option("--direct-upload", is_flag=True, help="Take whole blobs at once, by links.")
def serve(invocation: Invocation) -> None:
    """Run the embedded private registry until SIGTERM or Ctrl-C.

    \b
      ferry serve
      ferry serve --data /srv/ferry --public-url https://models.acme.example
    """
    extra.need_server("ferry serve")
    from registry.net.listener.limits import raise_descriptor_limit
    from registry.net.listener.proxies import Proxies
    from registry.server.principal import Right
    from registry.server.service import Plan, Service
    from registry.server.upkeep import EVERY, Upkeep

    settings, terminal = invocation.settings, invocation.terminal
    raise_descriptor_limit()
    keep_no_more_than_buffers()
    as_json = settings.get("log_format", "text") == "json"
    log = Log(terminal.complained, as_json=as_json, quiet=terminal.quiet)
    address = _address(invocation)
    metrics = settings.get("metrics_listen")
    plan = Plan(
        data_directory.directory(invocation),
        address,
        settings.get("public_url", ()),
        Right.parse(settings.get("anonymous", "none")),
        settings.get("capability_days", 7),
        settings.get("max_key_days", 365),
        record=log.request,
        direct_upload=settings.on("direct_upload"),
        min_free=settings.get("min_free"),
        proxies=Proxies.parse(
            settings.get("trusted_proxy", ()), settings.get("proxy_header", "X-Forwarded-For")
        ),
        metrics=_address_of("--metrics-listen", metrics) if metrics else None,
        gauges=(log.gauges,),
        scrub=settings.get("scrub", _SCRUB),
        told=log.complain,
        noted=log.note,
        issuer_transport=sources.to_issuers(invocation),
    )
    service = Service(plan)
    signals = ServerSignals()
    where = service.start()
    log.start()
    look_less_for_cycles()
    try:
        _say_ready(invocation, where, plan.directory)
        if service.set_up_url:
            _say_set_up(invocation, service.set_up_url, as_json=as_json)
    except (StorageError, BrokenPipeError) as error:  # a disk that is full of logs ends no registry
        log.complain(f"what is said at the start could not be: {error}")
    if service.set_up_url:
        log.complain("nobody has an account yet: open the link, or ferry admin user add --help", "warning")
    _warn_of_proxy(plan, log)
    _warn_of_readers(plan.directory, log)
    dates = _certificate_dates(invocation, address, log)
    more = (service.registry.last_use.write, service.look_at_issuers, *([dates.look] if dates else []))
    upkeep = Upkeep(service.registry.depot, log.complain, log.note, more)
    while not signals.stopped(
        EVERY, lambda: _read_again(invocation, address, log, dates), upkeep.look_for_room
    ):
        upkeep.step()
    service.stop()  # Ctrl-C does not come here: it drops what is running, and loses nothing that was answered
    log.close()


def _say_ready(invocation: Invocation, where: str, directory: Path) -> None:
    if invocation.terminal.json:
        invocation.terminal.document({"url": where, "data": str(directory)})
    else:
        invocation.terminal.say(f"ferry serve: ready on {where} with the data in {directory}")


def _say_set_up(invocation: Invocation, url: str, *, as_json: bool) -> None:
    """Where the first account is made: on standard output, and not in the log."""
    if as_json or invocation.terminal.json:
        invocation.terminal.say(json.dumps({"setup": url}))
    else:
        invocation.terminal.say(f"set-up: {url}")


def _warn_of_proxy(plan: Plan, log: Log) -> None:
    """Where one in front speaks HTTPS and is not trusted, everybody has its address: who guesses passwords
    keeps others out, and no page can tell that a machine asks from elsewhere.
    """
    secure = any(url.lower().startswith("https:") for url in plan.public)
    if secure and plan.address.tls is None and not plan.proxies.may_come_to(plan.address.host):
        log.complain(
            "a proxy in front speaks HTTPS, and --trusted-proxy does not name it: "
            "all who ask through it count as one address",
            "warning",
        )


def _warn_of_readers(directory: Path, log: Log) -> None:
    """Of everybody on this machine: private models lie there, and what tells a password that is guessed."""
    found = files.status(directory.resolve())
    if found is not None and found.mode & 0o005:
        log.complain(f"everybody on this machine may read {directory}: chmod o= {directory}", "warning")


def _certificate_dates(invocation: Invocation, address: Address, log: Log) -> CertificateDates | None:
    """What looks at the dates of the certificate, and has looked once; None without one."""
    if address.tls is None:
        return None
    file = Path(invocation.settings.get("tls_cert"))
    dates = CertificateDates(file, lambda trouble: log.complain(trouble, "warning"), time.time)
    dates.look()
    return dates


def _read_again(invocation: Invocation, address: Address, log: Log, dates: CertificateDates | None) -> None:
    """Show the certificate that is there now to connections from now on; a bad one changes nothing."""
    from registry.net.listener.address import read_again

    settings = invocation.settings
    if address.tls is None or dates is None:
        log.complain("SIGHUP: there is no certificate to read again", "warning")
        return
    try:
        read_again(address.tls, Path(settings.get("tls_cert")), Path(settings.get("tls_key")))
    except InvalidError as error:
        log.complain(f"SIGHUP: the old certificate stays: {error.message}")
    else:
        log.complain(f"SIGHUP: read {settings.get('tls_cert')} again", "info")
        dates.look(anew=True)


def _address(invocation: Invocation) -> Address:
    """Where to listen; InvalidError for what would let secrets cross a network unprotected, or unnamed."""
    from registry.net.listener.address import Address, tls_from

    settings = invocation.settings
    host, port = host_and_port("--listen", settings.get("listen", _LISTEN))
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


def _address_of(option: str, listen: str) -> Address:
    """An address for plain HTTP. InvalidError."""
    from registry.net.listener.address import Address

    return Address(*host_and_port(option, listen))
