"""Introduces the parts of the local gateway to each other: what listens, whom it asks, and as whom.

Apart from `connect`, as it needs what a plain install leaves out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from registry.auth.call_credentials import KeySigned, WithApiKey
from registry.auth.credentials import OLLAMA_API
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, Secret, shown_as
from registry.auth.signin import connect_url
from registry.gateway.catalogue import CloudCatalogue
from registry.gateway.entrance import RequestCheck
from registry.gateway.gateway import Gateway, Machine
from registry.gateway.relay import Relay
from registry.net.listener.address import Address
from registry.net.listener.listener import Listener
from registry.net.listener.record import Record
from registry.net.network import Network
from registry.net.upstream import Upstream, aside, at_most, one_at_a_time
from registry.wire.faults import fault
from registry.wire.masking import Masking
from registry.wire.messages import Origin, Request, Response

PATIENCE = 25.0  # seconds that answers which are under way get to end
LISTING = 30.0  # seconds that the list of models may take


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What is asked at `to`, over `network`, with which secrets, in their order; who may ask, and where.

    `newer` is asked before each question: the secrets, where they have changed since it was asked last.
    `machine` is this machine's name on the page where its key is approved. `token`: what each request must
    bring, or "". `disabled` and `source`: see `Gateway`. `record` is told of each request; `masking` of every
    secret of ours.
    """

    to: Origin
    network: Network
    secrets: tuple[Secret, ...]
    address: Address
    machine: str
    record: Record
    masking: Masking
    newer: Callable[[], tuple[Secret, ...] | None] = lambda: None
    token: str = field(default="", repr=False)
    disabled: str = ""
    source: str = "none"


def usable(secrets: Iterable[Secret], to: Origin) -> Iterator[Secret]:
    """Those that may be used at `to`: API keys, and keys where a signature cannot be passed on.

    Such a signature is good at every server, so it goes to ollama.com only, and to this machine.
    """
    for secret in secrets:
        if isinstance(secret, ApiKey) or (
            isinstance(secret, PrivateKey) and (to == OLLAMA_API or to.loopback)
        ):
            yield secret


class GatewayServer:
    """The gateway, from `start` to `stop`."""

    def __init__(self, plan: GatewayPlan) -> None:
        """Take the port. InvalidError if it is taken."""
        self._upstream = Upstream(plan.to, plan.network)
        self._bound = plan.address.bind()
        self._listener = Listener(
            _unasked,
            self._bound,
            prompt=self._gateway(plan),
            record=plan.record,
            closing=self._upstream.close,
        )

    def start(self) -> str:
        """Begin to answer; the URL it is ready at."""
        port = self._listener.start()
        host = self._bound.address.host
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self, patience: float = PATIENCE) -> None:
        """Take no new request, and let those that are under way end for so many seconds."""
        self._listener.stop(patience)

    def _gateway(self, plan: GatewayPlan) -> Gateway:
        credentials = CurrentCredentials(plan)
        relay = Relay(plan.to, self._upstream, credentials, plan.network.agent, plan.masking)
        catalogue = CloudCatalogue(relay, time.monotonic, one_at_a_time(), partial(at_most, LISTING))
        check, machine = RequestCheck(plan.token), credentials.machine
        return Gateway(relay, catalogue, aside, check, machine, plan.disabled, plan.source)


class CurrentCredentials:
    """The credentials of a plan, in their order, as they are now."""

    def __init__(self, plan: GatewayPlan) -> None:
        self._plan = plan
        self._known = self._of(plan.secrets)

    def __iter__(self) -> Iterator[KeySigned | WithApiKey]:
        newer = self._plan.newer()
        if newer is not None:
            self._known = self._of(newer)
        return iter(self._known)

    def machine(self) -> Machine | None:
        """The first key among them, as it is now; None where there is none."""
        for each in self:
            if isinstance(each, KeySigned):
                page = connect_url(self._plan.to, each.key, self._plan.machine)
                return Machine(each, page, f"/api/user/keys/{each.key.public.connect}")
        return None

    def _of(self, secrets: Iterable[Secret]) -> list[KeySigned | WithApiKey]:
        found: list[KeySigned | WithApiKey] = []
        for secret in usable(secrets, self._plan.to):
            self._plan.masking.keep(*shown_as(secret))
            if isinstance(secret, ApiKey):
                found.append(WithApiKey(secret))
            elif isinstance(secret, PrivateKey):
                found.append(KeySigned(secret, time.time))
        return found


def _unasked(_request: Request) -> Response:
    """The gateway answers everything on the event loop."""
    return fault("UNKNOWN", "nothing answers this")
