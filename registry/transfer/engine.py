"""What outlives a copy: patience with each host, how many workers paid, where blobs are, what found no room.

`copy` of a thousand names is one engine; a model that fails leaves it as good as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from registry.contracts import Destination, Source
from registry.errors import Side
from registry.model.names import Name
from registry.transfer.current_blobs import CurrentBlobs
from registry.transfer.full import FullDestinations
from registry.transfer.model import BlobSource, ModelTransfer
from registry.transfer.options import Options
from registry.transfer.retry import HostRecord, Patience, Stopped
from registry.transfer.workers import FEWEST, MOST, Workers

T = TypeVar("T")

_Route = tuple[str, str]  # the hosts of a source and a destination


class Engine:
    """For models one after another, or several at once: `at_once` of them share the workers there may be.

    Safe from many threads. What it knows of a host is kept by the host and the side it is on.
    """

    def __init__(self, options: Options | None = None, *, at_once: int = 1) -> None:
        self.options = options or Options()
        self.current_blobs = CurrentBlobs()
        self.full = FullDestinations()
        self.at_once = at_once if self.options.jobs is None else min(at_once, self.options.jobs)
        self._hosts: dict[tuple[Side, str], HostRecord] = {}
        self._workers: dict[_Route, int] = {}
        self._asking: dict[_Route, Patience] = {}
        self._running: set[threading.Event] = set()
        self._lock = threading.Lock()

    # --- for one question --------------------------------------------------------------------------

    def ask(self, question: Callable[[], T], side: Side, name: Name, to: Name) -> T:
        """The answer of the host of `name`, or of `to`, with patience. Stopped once the engine was.

        What `question` raises that is no matter of patience, and the last TransientError.
        """
        if self.options.stop.is_set():
            raise Stopped
        route = name.host, to.host
        patience = self._asking.get(route)
        if patience is None:  # a mirror asks two hosts thousands of times
            made = self._patience(*route)
            made.stop = self.options.stop
            patience = self._asking.setdefault(route, made)
        return patience.retry(question, side)

    # --- for one copy ------------------------------------------------------------------------------

    def model(
        self,
        source: Source,
        destination: Destination,
        name: Name,
        to: Name,
        *,
        near: Name | None = None,
        nearer: tuple[BlobSource, ...] = (),
    ) -> ModelTransfer:
        """What the transfers of one model's blobs share. Stopped once the engine was."""
        sources = (*nearer, BlobSource(source, name))
        patience = self.patience(name, to)
        observer, current = self.options.observer, self.current_blobs
        return ModelTransfer(sources, destination, to, near, patience, observer, current, self.full)

    def patience(self, name: Name, to: Name) -> Patience:
        """Patience with the two hosts of a name, until `over`. Stopped once the engine was."""
        patience = self._patience(name.host, to.host)
        with self._lock:
            self._running.add(patience.stop)
        if self.options.stop.is_set():
            raise Stopped
        return patience

    def _patience(self, source: str, destination: str) -> Patience:
        patience = self.options.patience()
        patience.hosts = {
            Side.SOURCE: self.host(Side.SOURCE, source),
            Side.DESTINATION: self.host(Side.DESTINATION, destination),
        }
        return patience

    def over(self, patience: Patience) -> None:
        """What was waited for ended, well or not."""
        with self._lock:
            self._running.discard(patience.stop)

    def workers(self, model: ModelTransfer) -> Workers:
        """As many as paid between these two hosts, to begin with."""
        jobs, share = self.options.jobs, self.at_once
        if jobs is not None:
            return Workers(max(1, jobs // share))
        most = max(FEWEST, MOST // share)
        return Workers(limit=min(most, self._workers.get(_route(model), FEWEST)), most=most)

    def learn(self, model: ModelTransfer, workers: Workers) -> None:
        """A copy ended well with so many."""
        self._workers[_route(model)] = workers.limit

    # --- for all of them ---------------------------------------------------------------------------

    def host(self, side: Side, host: str) -> HostRecord:
        """How a host has served on this side so far."""
        with self._lock:
            return self._hosts.setdefault((side, host), HostRecord())

    def forgive(self) -> None:
        """A new round: hosts that were given up get all the patience there is once more.

        And what found no room is tried again.
        """
        self.full.forget()
        with self._lock:
            for host in self._hosts.values():
                host.given_up = False

    def stop(self) -> None:
        """End every copy at once, with Stopped; the connections can be used again."""
        self.options.stop.set()
        with self._lock:
            running = list(self._running)
        for each in running:
            each.set()
        self.options.interrupt()


def _route(model: ModelTransfer) -> _Route:
    return (model.name.host, model.to.host)
