"""Where models are, opened as the settings say: the local store, and registries over the network.

The heavy rooms of the library are imported only when one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cli import distribution, identity
from cli.options import Invocation
from cli.render import visible
from cli.settings import files
from registry.contracts import Source, Target
from registry.errors import (
    DeniedError,
    InvalidError,
    NotFoundError,
    Reason,
    RegistryError,
    StorageError,
)
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span

if TYPE_CHECKING:
    from cli.settings import HostOptions
    from registry.auth.credentials import Credentials
    from registry.connect import HostSettings, Registries
    from registry.net.network import ClientCertificate
    from registry.targets.store import Store
    from registry.wire.messages import Origin, Transport

_TAGS_TOLD = 10
_ISSUER_SECONDS = 10.0  # without a byte from an issuer of ID tokens
_PEM_BYTES = 64 * 1024  # of a private key, perhaps with its chain of certificates

Timeouts: TypeAlias = Mapping[str, Any]  # `stall`, `connect`, and the `floor`: as `Network` has them


@contextmanager
def store(invocation: Invocation, note: Callable[[str], None] | None = None) -> Iterator[Store]:
    """The local store; `note` is told what a person may want to know of it (else standard error)."""
    from registry.targets.store import Store

    place, about = invocation.settings.models()
    if about:
        invocation.terminal.note(f"ferry: {about}")
    if _is_something_else(place):
        raise StorageError(f"{place} is not a directory", hint="--models or OLLAMA_MODELS names the store")
    opened = Store(place, note=note or (lambda text: invocation.terminal.note(f"ferry: {visible(text)}")))
    try:
        yield opened
    finally:
        opened.close()


def _is_something_else(place: Path) -> bool:
    """Whether what is there cannot be a store; one that cannot be looked at says so itself."""
    try:
        return place.exists() and not place.is_dir()
    except OSError:
        return False


def storable(invocation: Invocation, name: Name, hint: str) -> Name:
    """`name`, if the local store can hold it; InvalidError with `hint` if not. Warns of odd tags."""
    problem = name.ollama_problem()
    if problem:
        raise InvalidError(f"an Ollama store cannot hold {name}: {problem}", hint=hint, name=str(name))
    warning = name.tag_warning()
    if warning:
        invocation.terminal.note(f"ferry: {name}: {warning}")
    return name


@contextmanager
def telling_tags(target: Target, name: Name) -> Iterator[None]:
    """A tag that is not there is told with those that are."""
    try:
        yield
    except NotFoundError as error:
        try:
            tags = [] if name.digest else list(target.tags(name))
        except RegistryError:
            tags = []
        if not tags or name.tag in tags:
            raise
        more = f" and {len(tags) - _TAGS_TOLD} more" if len(tags) > _TAGS_TOLD else ""
        told = f"its tags are: {', '.join(map(visible, tags[:_TAGS_TOLD]))}{more}"
        raise NotFoundError(error.message, hint=told, host=error.host, name=error.name) from None


def read(source: Source, name: Name, blob: Descriptor, limit: int) -> bytes:
    """A small blob's bytes; InvalidError if it has more than `limit`."""
    if blob.size > limit:
        raise InvalidError(f"blob {blob.digest.short} of {name} has {blob.size} bytes, too many to show")
    reading = source.open(name, blob, Span(0, blob.size))
    try:
        return b"".join(reading.stream)
    finally:
        reading.stream.close()


# --- registries ------------------------------------------------------------------------------------------


@contextmanager
def connections(
    invocation: Invocation, timeouts: Timeouts | None = None, known: Credentials | None = None
) -> Iterator[Registries]:
    """Everything the network is reached through, closed at the end.

    `timeouts` where none are set; `known` is who we are, if that was found out already.
    """
    from registry.connect import Registries
    from registry.targets.methods import file_methods
    from registry.targets.records import ReadOnce
    from registry.targets.sessions import file_sessions

    settings = invocation.settings
    meter = None
    if settings.get("limit_rate"):
        from registry.transfer.limits import Bucket

        meter = Bucket(settings.get("limit_rate")).meter
    trace = (lambda line: invocation.terminal.complain(visible(line))) if settings.on("debug") else None
    state = settings.state
    uploads = file_sessions(state / "uploads") if state else None
    methods = ReadOnce(file_methods(state / "registries")) if state else None
    settings_of = cache(
        lambda host: host_settings(invocation, host, timeouts or {})
    )  # one look at its files, and one warning, a host
    opened = Registries(
        settings_of,
        known if known is not None else identity.credentials(invocation),
        uploads=uploads,
        methods=methods,
        meter=meter,
        trace=trace,
        masking=invocation.terminal.mask,
    )
    try:
        yield opened
    finally:
        opened.close()


def to_issuers(invocation: Invocation) -> Callable[[Origin, str], Transport]:
    """How `ferry serve` reaches those who sign ID tokens: as the settings say of their hosts, with
    certificates (PEM) of their own trusted too, and with little patience.
    """
    from registry.connect import transport

    @cache
    def reached(origin: Origin, ca: str) -> Transport:
        network = host_settings(invocation, origin.netloc, {"stall": _ISSUER_SECONDS}).network
        trusted = "\n".join(filter(None, (network.ca, ca)))
        return transport(replace(network, ca=trusted, answer=_ISSUER_SECONDS))

    return reached


def forget_what_is_old(invocation: Invocation, now: float) -> None:
    """Forget uploads that no registry knows any more, and what was learned of registries long ago.

    `now` is Unix seconds.
    """
    from registry.auth import ci
    from registry.targets import methods, sessions

    state = invocation.settings.state
    if state is not None:
        ci.forget(state / "ci", now - ci.AGE)
        sessions.file_sessions(state / "uploads").prune(now, sessions.AGE)
        methods.file_methods(state / "registries").prune(now, methods.AGE)


def _certificate(host: str, place: HostOptions) -> ClientCertificate | None:
    """What we show `host`, and no place that it sends us to."""
    from registry.net.network import ClientCertificate
    from registry.wire.messages import Origin

    if place.client_cert is None:
        return None
    _check_own(place.client_key or place.client_cert)
    return ClientCertificate(Origin.of(f"https://{host}"), place.client_cert, place.client_key)


def _check_own(key: Path) -> None:
    """The key of a client's certificate is a secret as any other: DeniedError if others may touch its file.

    InvalidError if there is none.
    """
    from registry.disk.secrets import read_secret

    try:
        found = read_secret(key, _PEM_BYTES)
    except DeniedError as error:
        if error.reason is not Reason.SECRET_EXPOSED:
            raise
        hint = f"chmod 600 {key}; where it is mounted, the mount says the mode"
        raise DeniedError(error.message, hint=hint) from None
    if found is None:
        raise InvalidError(f"the settings' client_cert or client_key: there is no file {key}")


def host_settings(invocation: Invocation, host: str, timeouts: Timeouts) -> HostSettings:
    """How the settings say that `host` is reached."""
    from registry.connect import HostSettings
    from registry.net.network import Network
    from registry.wire.messages import Origin

    place = invocation.settings.place(host)
    proxy = place.proxy
    timeouts = {key: invocation.settings.get(key, timeouts.get(key)) for key in ("stall", "floor", "connect")}
    network = Network(
        agent=f"{distribution.NAME}/{distribution.VERSION}",
        proxies={"http": proxy, "https": proxy} if proxy else invocation.settings.proxies,
        no_proxy=() if proxy else invocation.settings.no_proxy,
        ca=files.certificates(place.tls_ca) if place.tls_ca else "",
        insecure=place.insecure_tls,
        certificate=_certificate(host, place),
        **{key: value for key, value in timeouts.items() if value is not None},
    )
    if give_up_after := invocation.settings.get("give_up_after"):  # a silent peer makes no progress either
        stall, connect = min(network.stall, give_up_after), min(network.connect, give_up_after)
        network = replace(network, stall=stall, connect=connect)
    if place.insecure_tls:
        invocation.terminal.complain(
            f"ferry: the certificate of {visible(host)} is not checked (insecure TLS)"
        )
    return HostSettings(
        network, place.plain_http, place.https, tuple(Origin.of(realm) for realm in place.realms)
    )
