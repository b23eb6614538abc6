"""What happened so far and what is here now, as Prometheus text: counts and sums, nothing of who or what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from registry.net.listener.record import AccessRecord
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)

Gauges = Callable[[], Mapping[str, tuple[str, float]]]
"""What is true now: name to (what it is, value). Asked at each scrape, in a thread that may read the disk."""


@dataclass(frozen=True, slots=True)
class _Children:
    """What counts the requests of one route, method and status."""

    requests: Counter
    seconds: Histogram
    received: Counter
    sent: Counter


class Metrics:
    """Counts every request that was answered; `gauges` are asked when somebody looks."""

    def __init__(self, *gauges: Gauges, elsewhere: bool = False) -> None:
        """`elsewhere`: they have an address of their own, and are not shown beside the registry."""
        self._elsewhere = elsewhere
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ferry_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ferry_request_seconds",
            "From a request's head to the end of its answer.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._received = Counter(
            "ferry_received_bytes", "Bytes of bodies received.", ("route",), registry=self._registry
        )
        self._sent = Counter("ferry_sent_bytes", "Bytes of bodies sent.", ("route",), registry=self._registry)
        self._broken = Counter(
            "ferry_broken_answers",
            "Answers that did not go out to their end.",
            ("route",),
            registry=self._registry,
        )
        self._children: dict[tuple[str, str, int], _Children] = {}  # to find them takes longer than to count
        for each in gauges:
            self._registry.register(_Now(each))

    def count(self, request: AccessRecord) -> None:
        """One more; paths count by their route, so that there are only so many."""
        method = request.method if request.method in _METHODS else "other"
        key = request.route, method, request.status
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = self._of(*key)
        children.requests.inc()
        children.seconds.observe(request.seconds)
        children.received.inc(request.received)
        children.sent.inc(request.sent)
        if not request.whole:
            self._broken.labels(request.route).inc()

    def _of(self, route: str, method: str, status: int) -> _Children:
        return _Children(
            self._requests.labels(route, method, str(status)),
            self._seconds.labels(route, method),
            self._received.labels(route),
            self._sent.labels(route),
        )

    def answer(self, _request: Request, _visitor: Visitor) -> Response:
        """What `GET /metrics` is answered beside the registry."""
        return fault("NAME_UNKNOWN", "there is nothing at this path") if self._elsewhere else self._shown()

    def _shown(self) -> Response:
        return Response(200, Headers({"Content-Type": CONTENT_TYPE_LATEST}), self.text().encode())

    def alone(self, request: Request) -> Response | Accept:
        """An exchange that answers `GET /metrics` and nothing else, for an address of its own."""
        place = routes.match(request.path)
        if place is None or place.route is not Route.METRICS:
            return Response(404)
        request.context.route = "metrics"
        return (
            self._shown() if request.method in ("GET", "HEAD") else Response(405, Headers({"Allow": "GET"}))
        )

    def text(self) -> str:
        """The exposition."""
        return generate_latest(self._registry).decode()


class _Now(Collector):
    """Gauges, read when they are asked for."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: what is on disk is not read before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Each as it is now."""
        for name, (what, value) in self._gauges().items():
            yield GaugeMetricFamily(name, what, value)
