"""How long the list of cloud models is kept, and what is done when it cannot be had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any, TypeVar

import pytest

from registry.errors import ProtocolError, RegistryError, TransientError
from registry.gateway.catalogue import GOOD_FOR, CloudCatalogue
from registry.gateway.relay import Relay
from registry.net.upstream import at_most, one_at_a_time
from registry.wire.masking import Masking
from registry.wire.messages import Origin, Request, Response

T = TypeVar("T")


def ran(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nobody."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]  # what `work` returned
    raise AssertionError("it waits")


def test_it_is_asked_for_again_once_it_is_old_and_an_old_one_is_better_than_none() -> None:
    now, answers = [0.0], [["a:1"], ["a:1", "b:1"]]

    async def ask(_request: Request) -> Response:
        if not answers:
            raise TransientError("nobody answers")
        return Response(
            200, body=json.dumps({"models": [{"name": name} for name in answers.pop(0)]}).encode()
        )

    catalogue = CloudCatalogue(Relay(Origin.of("https://o.example"), ask, (), "x", Masking()), lambda: now[0])

    assert ran(catalogue.names()) == ["a:1"]
    now[0] = GOOD_FOR - 1
    assert ran(catalogue.names()) == ["a:1"]
    now[0] = GOOD_FOR
    assert ran(catalogue.names()) == ["a:1", "b:1"]
    now[0] = 2 * GOOD_FOR
    assert ran(catalogue.names()) == ["a:1", "b:1"]


def test_those_who_come_while_it_is_fetched_wait_for_it_and_share_what_comes_of_it() -> None:
    asked: list[asyncio.Event] = []
    answers: list[Response | RegistryError] = [
        TransientError("nobody answers"),
        Response(200, body=b'{"models":[{"name":"a:1"}]}'),
    ]

    async def ask(_request: Request) -> Response:
        asked.append(asyncio.Event())
        await asked[-1].wait()
        answer = answers.pop(0)
        if isinstance(answer, RegistryError):
            raise answer
        return answer

    async def together(catalogue: CloudCatalogue, count: int) -> list[object]:
        tasks = [asyncio.ensure_future(catalogue.names()) for _ in range(9)]
        for _ in range(20):  # all of them have begun
            await asyncio.sleep(0)
        assert len(asked) == count
        asked[-1].set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    async def all_of_it() -> tuple[list[object], list[object]]:
        relay = Relay(Origin.of("https://o.example"), ask, (), "x", Masking())
        catalogue = CloudCatalogue(relay, lambda: 0.0, one_at_a_time())
        return await together(catalogue, 1), await together(catalogue, 2)

    failed, told = asyncio.run(all_of_it())
    assert {str(each) for each in failed} == {"nobody answers"}
    assert told == [["a:1"]] * 9


class _Endless:
    """A body of which no byte comes."""

    closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    def close(self) -> None:
        self.closed = True


def test_one_that_never_comes_is_not_waited_for_as_a_model_that_thinks() -> None:
    """All wait behind the one who asks: ten minutes, and for hours where a byte came now and then."""
    bodies: list[bytes | _Endless] = [_Endless(), b'{"models":[{"name":"a:1"}]}', _Endless()]
    sent = list(bodies)
    now = [0.0]

    async def ask(_request: Request) -> Response:
        return Response(200, body=bodies.pop(0))

    async def all_of_it() -> None:
        relay = Relay(Origin.of("https://o.example"), ask, (), "x", Masking())
        catalogue = CloudCatalogue(relay, lambda: now[0], one_at_a_time(), partial(at_most, 0.0))
        with pytest.raises(TransientError, match="takes too long"):
            await catalogue.names()
        assert await catalogue.names() == ["a:1"]
        now[0] = GOOD_FOR
        assert await catalogue.names() == ["a:1"]

    asyncio.run(asyncio.wait_for(all_of_it(), 30))
    assert [each.closed for each in sent if isinstance(each, _Endless)] == [True, True]


def test_where_it_is_not_public_it_is_asked_for_as_whom_we_are() -> None:
    async def ask(request: Request) -> Response:
        if request.headers.get("Authorization") != "Bearer key":
            return Response(401)
        return Response(200, body=b'{"models":[{"name":"a:1"}]}')

    class WithKey:
        def signed(self, _method: str, path: str, _query: object) -> tuple[str, str]:
            return path, "Bearer key"

    relay = Relay(Origin.of("https://o.example"), ask, (WithKey(),), "x", Masking())
    assert ran(CloudCatalogue(relay, lambda: 0.0).names()) == ["a:1"]
    nobody = Relay(Origin.of("https://o.example"), ask, (), "x", Masking())
    with pytest.raises(ProtocolError, match="answered 401"):
        ran(CloudCatalogue(nobody, lambda: 0.0).names())


def test_without_any_list_the_reason_is_told() -> None:
    async def ask(_request: Request) -> Response:
        raise TransientError("nobody answers")

    with pytest.raises(TransientError, match="nobody answers"):
        ran(
            CloudCatalogue(
                Relay(Origin.of("https://o.example"), ask, (), "x", Masking()), lambda: 0.0
            ).names()
        )
