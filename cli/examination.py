"""Every hop of `ferry doctor` in order, from what this run was told to the bytes of a model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cli import identity, naming, sources, values
from cli.local_hops import LocalHops
from cli.options import Invocation
from cli.settings import environment
from registry.auth.credentials import OLLAMA_API, Account, Credentials
from registry.connect import Registries
from registry.diagnose import here
from registry.diagnose.account import AskingOllama
from registry.diagnose.asking import Asking
from registry.diagnose.findings import Finding, Hops, HopState, failed, look_at, note, skipped
from registry.diagnose.pushing import Pushing
from registry.diagnose.reaching import Reaching
from registry.errors import InvalidError, RegistryError
from registry.model.names import DEFAULT_HOST, Name, is_host, split_scheme
from registry.net.probe import Probe
from registry.wire.messages import Origin, Request, Response

HOPS = (
    *("settings", "key", "credential", "dns", "proxy", "tcp", "tls", "http", "clock"),
    *("challenge", "token", "scope", "manifest", "blob", "upload", "store", "ollama"),
)
# Less than what a hop is given up after, so that a peer's silence is told in the words of a request.
_PATIENCE = {"connect": 8.0, "stall": 8.0}
_OLLAMA_PORT = 11434
OLLAMA_REGISTRY = Origin("https", DEFAULT_HOST, 443)
_EVERYWHERE = ("0.0.0.0", "[::]", "::", "")


def findings(invocation: Invocation, place: str | None, push: bool) -> Iterator[Finding]:
    """Every hop of the way to `place`, a host or a model. InvalidError for a name that is none."""
    if invocation.fault is not None:
        yield from _nothing_but(invocation.fault)
        return
    name, host = _meant(invocation, place)
    if push and name is None:
        raise InvalidError("--push: no model is named", hint="ferry doctor HOST/NAMESPACE/MODEL --push")
    known, fault = _credentials(invocation)
    with sources.connections(invocation, _PATIENCE, known) as opened:
        scheme, bare = split_scheme(host)
        try:
            origin = opened.origin(name) if name else opened.origin_of(bare, scheme)
            opened.network(origin)
        except RegistryError as error:
            yield from _nothing_but(error)
            return
        yield from _Examination(invocation, opened, origin, name, push, fault).findings()


def _nothing_but(error: RegistryError) -> Iterator[Finding]:
    """The settings cannot be used, so that nothing else can be looked at."""
    yield failed("settings", error)
    yield from (skipped(hop, "not looked at: settings comes first") for hop in HOPS[1:])


def _meant(invocation: Invocation, place: str | None) -> tuple[Name | None, str]:
    """The model that is named, or none and the host alone."""
    text = invocation.settings.registry if place is None else place
    alone = is_host(text) or (is_host(text, destination=True) and not naming.in_store(invocation, text))
    if place is None or alone:
        return None, str(values.host(text))
    return invocation.settings.name(text), ""


def _credentials(invocation: Invocation) -> tuple[Credentials, RegistryError | None]:
    """Who we can say that we are; nobody, and why, where that cannot be found out.

    What is broken of it is told as a finding, and not beside.
    """
    silent = replace(invocation, terminal=replace(invocation.terminal, quiet=True))
    try:
        return identity.credentials(silent), None
    except RegistryError as error:
        return Credentials(), error


@dataclass(frozen=True, slots=True)
class _Examination:
    """Of `name`, or of the host alone, at `origin`; `fault` is why nothing says who we are."""

    invocation: Invocation
    opened: Registries
    origin: Origin
    name: Name | None
    push: bool
    fault: RegistryError | None

    def findings(self) -> Iterator[Finding]:
        """Every hop, in order."""
        yield from self._local()
        asking = self._asking()
        network = self.opened.network(self.origin)
        probe = Probe(network, self.origin)
        try:
            reaching = Reaching(probe, insecure=network.insecure)
            hops = (*reaching.hops, *asking.hops, *self._account_of_it(), *self._upload())
            yield from look_at(hops, self.origin.netloc)
        finally:
            probe.close()
        models = self.invocation.settings.models
        yield from look_at([("store", lambda: here.store(models()[0], asking.found))])
        yield from look_at([("ollama", self._ollama)])

    def _local(self) -> Iterator[Finding]:
        local = LocalHops(self.invocation, self.origin, self._repository)
        yield from look_at([("settings", local.settings)])
        key = next(look_at([("key", local.key)]))
        yield key
        if self.fault is None:
            yield from look_at([("credential", lambda: local.credential(self.opened.credentials))])
        elif key.state is HopState.FAILED:
            yield skipped("credential", "not looked at: key comes first")
        else:
            yield failed("credential", self.fault)

    def _asking(self) -> Asking | AskingOllama:
        """What is asked of the host, once it is reached."""
        account = self._account
        signs = any(candidate.signs for candidate in account.candidates[:1])
        if self.origin == OLLAMA_API:
            return AskingOllama(self._nobody, account, signs, time.time)
        session = self.opened.session_as(self.origin, account)
        remote = self.opened.remote_at(self.origin, self._repository)
        return Asking(self._nobody, session, remote, self.name, signs, time.time, self.push)

    def _nobody(self, request: Request) -> Response:
        """Asks whom the request is for, and does not say who we are."""
        return self.opened.bare(request.origin)(request)

    def _account_of_it(self) -> Hops:
        """Ollama's registry alone asks nobody who they are; the account is that of ollama.com."""
        if self.name is None and self.origin == OLLAMA_REGISTRY:
            account = self.opened.credentials.account(OLLAMA_API)
            yield "account", AskingOllama(self._nobody, account, False, time.time).whose

    def _upload(self) -> Hops:
        if self.origin == OLLAMA_API:
            return
        if self.name is None or not self.push:
            yield "upload", lambda: skipped("upload", "only with --push")
        else:
            peer = self.opened.remote_at(self.origin, self._repository).peer
            yield "upload", Pushing(peer, self.name).upload

    def _ollama(self) -> Finding:
        """Whether Ollama runs where its own variable says."""
        said = environment().get("OLLAMA_HOST", "").strip()
        try:
            origin = _ollama_origin(said)
        except InvalidError as error:
            return note("ollama", f"OLLAMA_HOST: {error.message}")
        return here.ollama(self._nobody, origin)

    @property
    def _account(self) -> Account:
        return self.opened.credentials.account(self.origin, self._repository)

    @property
    def _repository(self) -> str:
        return self.name.repository if self.name else ""


def _ollama_origin(said: str) -> Origin:
    """Where Ollama listens, as OLLAMA_HOST spells it; InvalidError for what is no host."""
    scheme, rest = split_scheme(said)
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or "]" in port:
        host, port = rest.rstrip("/"), "" if scheme else str(_OLLAMA_PORT)
    host = "127.0.0.1" if host in _EVERYWHERE else host
    return Origin.of(f"{scheme or 'http'}://{host}{f':{port}' if port else ''}")
