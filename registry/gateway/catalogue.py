"""The cloud models there are, as the other end lists them (`GET /api/tags`), kept for a few minutes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import datetime

from registry.errors import NotFoundError, ProtocolError, RegistryError, TransientError
from registry.gateway import names
from registry.gateway.relay import Question, Relay, UpstreamRefusal, read_whole

Entry = Mapping[str, object]

GOOD_FOR = 300.0  # seconds
_BYTES = 4 * 1024 * 1024
_MOST = 5000
_PATH = "/api/tags"
_SHORTEST_DIGEST = 12  # characters that `ollama list` shows of one, and breaks without
_LONGEST_NAME = 512


class CloudCatalogue:
    """The other end's models under the names that programs here know; `clock` in seconds.

    `alone` is held by the one that fetches the list, for all that wait for it; `limit` makes what raises
    TimeoutError in the one that takes too long.
    """

    def __init__(
        self,
        relay: Relay,
        clock: Callable[[], float],
        alone: AbstractAsyncContextManager[object] | None = None,
        limit: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._relay = relay
        self._clock = clock
        self._alone = alone or nullcontext()
        self._limit = limit
        self._failure: RegistryError | None = None
        self._failed = 0  # how often
        self._entries: list[Entry] | None = None
        self._until = 0.0

    async def names(self) -> list[str]:
        """What the models are called at the other end. RegistryError."""
        return [str(entry["name"]) for entry in await self._all()]

    async def has(self, name: str) -> bool:
        """Whether the other end lists a model under `name`. RegistryError."""
        return any(names.same(name, known) for known in await self.names())

    async def tags(self) -> list[Entry]:
        """One entry a model, as `/api/tags` of an Ollama server has it. RegistryError."""
        return [self._tag(entry) for entry in await self._all()]

    async def models(self) -> list[Entry]:
        """The same as `/v1/models` has it. RegistryError."""
        return [_model(entry) for entry in await self._all()]

    async def model(self, name: str) -> Entry:
        """One of them, under either of its names. NotFoundError, RegistryError."""
        for entry in await self._all():
            known = str(entry["name"])
            if names.same(name, known) or names.same(name, names.listed(known)):
                return _model(entry)
        raise NotFoundError(f"there is no cloud model {name[:_LONGEST_NAME]}")

    async def _all(self) -> list[Entry]:
        """What is known, fetched when it is old; an old list is better than none.

        Who has waited for another's failure has it too, and does not ask again.
        """
        failed = self._failed
        async with self._alone:
            if self._failure is not None and self._failed != failed:
                raise self._failure
            if self._entries is None or self._clock() >= self._until:
                try:
                    self._entries = await self._in_time()
                except RegistryError as error:
                    if self._entries is None:
                        self._failure, self._failed = error, self._failed + 1
                        raise
                self._until = self._clock() + GOOD_FOR
            return self._entries

    async def _in_time(self) -> list[Entry]:
        """It is short: who does not send it soon, as a model may that thinks, does not send it at all."""
        try:
            async with self._limit():
                return await self._fetched()
        except TimeoutError:
            host = self._relay.origin.netloc
            raise TransientError(f"listing the models of {host}: it takes too long", host=host) from None

    async def _fetched(self) -> list[Entry]:
        host = self._relay.origin.netloc
        answer = await self._relay.anonymous(_PATH)
        if answer.status in (401, 403):
            answer.close()
            known = await self._relay(Question("GET", _PATH))
            answer = answer if isinstance(known, UpstreamRefusal) else known
        if answer.status != 200:
            answer.close()
            raise ProtocolError(f"listing the models of {host}: it answered {answer.status}", host=host)
        try:
            listed = json.loads(await read_whole(answer, _BYTES))["models"]
            return [entry for entry in listed if _is_entry(entry)][:_MOST]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise ProtocolError(f"listing the models of {host}: its answer is no such list") from None
        finally:
            answer.close()

    def _tag(self, entry: Entry) -> Entry:
        remote = str(entry["name"])
        name = names.listed(remote)
        digest = entry.get("digest")
        if not isinstance(digest, str) or len(digest) < _SHORTEST_DIGEST:
            digest = hashlib.sha256(remote.encode()).hexdigest()
        return {
            **entry,
            "name": name,
            "model": name,
            "remote_model": remote,
            "remote_host": str(self._relay.origin),
            "digest": digest,
        }


def _is_entry(entry: object) -> bool:
    name = entry.get("name") if isinstance(entry, dict) else None
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME


def _model(entry: Entry) -> Entry:
    created = 0
    with suppress(ValueError, OverflowError, OSError):
        created = int(datetime.fromisoformat(str(entry.get("modified_at"))).timestamp())
    return {
        "id": names.listed(str(entry["name"])),
        "object": "model",
        "created": created,
        "owned_by": "library",
    }
