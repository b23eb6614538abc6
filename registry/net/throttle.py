"""A transport whose bodies, both ways, pass through a meter: `--limit-rate` is nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from registry.model.spans import FileSpan
from registry.wire.messages import Request, Response, Transport

Meter = Callable[[Iterable[bytes]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Throttled:
    """`transport`, with what is sent and what is received let through by `meter`."""

    transport: Transport
    meter: Meter

    def __call__(self, request: Request) -> Response:
        """The answer of `transport`, which begins to flow as it is read."""
        body = (request.body,) if isinstance(request.body, bytes) else request.body
        if request.length:
            metered = self.meter(body)
            small = isinstance(request.body, bytes)
            request = replace(request, body=b"".join(metered) if small else metered)
        response = self.transport(request)
        if isinstance(response.body, bytes | FileSpan):
            return response
        return replace(response, body=_Metered(response.pieces, self.meter))


@dataclass(frozen=True, slots=True)
class _Metered:
    body: Iterable[bytes]
    meter: Meter

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.meter(self.body))

    def close(self) -> None:
        close = getattr(self.body, "close", None)
        if close is not None:
            close()
