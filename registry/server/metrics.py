"""What happened so far, as Prometheus text: counts and sums, nothing of who or what.

Prometheus exposition format 0.0.4.
"""

from __future__ import annotations

import threading
from collections import Counter

from registry.server.listener import Served
from registry.wire import routes
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Exchange, Request, Response
from registry.wire.routes import Route

_TYPE = Headers({"Content-Type": "text/plain; version=0.0.4"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Metrics:
    """Counts every request that was answered."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._received = 0
        self._sent = 0
        self._seconds = 0.0
        self._lock = threading.Lock()

    def count(self, request: Served) -> None:
        """One more; paths count by their route, so that there are only so many."""
        place = routes.match(request.path.partition("?")[0])
        route = place.route.name.lower() if place else "none"
        method = request.method if request.method in _METHODS else "other"
        with self._lock:
            self._requests[route, method, request.status] += 1
            self._received += request.received
            self._sent += request.sent
            self._seconds += request.seconds

    def beside(self, exchange: Exchange) -> Exchange:
        """`exchange`, which also answers `GET /metrics`."""

        def answer(request: Request) -> Response | Accept:
            place = routes.match(request.path)
            if place is not None and place.route is Route.METRICS:
                return Response(200, _TYPE, self.text().encode())
            return exchange(request)

        return answer

    def text(self) -> str:
        """The exposition."""
        with self._lock:
            requests = sorted(self._requests.items())
            sums = {
                "ferry_received_bytes_total": self._received,
                "ferry_sent_bytes_total": self._sent,
                "ferry_request_seconds_total": round(self._seconds, 6),
            }
        lines = ["# TYPE ferry_requests_total counter"]
        for (route, method, status), count in requests:
            labels = f'route="{route}",method="{method}",status="{status}"'
            lines.append(f"ferry_requests_total{{{labels}}} {count}")
        for name, value in sums.items():
            lines += [f"# TYPE {name} counter", f"{name} {value}"]
        return "\n".join(lines) + "\n"
