"""The local store's models compared with their registries: one question each, several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cli import sources
from cli.options import Invocation
from cli.render import visible
from cli.settings import Settings
from registry.connect import Registries
from registry.errors import NotFoundError, RegistryError, Side, TransientError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, Manifest
from registry.model.names import Name
from registry.model.standing import Standing, standing
from registry.targets.origins import ModelOrigin
from registry.targets.store import Store
from registry.transfer.engine import Engine
from registry.transfer.retry import Rule, Stopped
from registry.transfer.side_by_side import side_by_side

T = TypeVar("T")

_AT_ONCE = 8
_PATIENCE = Rule(give_up_after=30.0)
_CHANGED = (Standing.CHANGED, Standing.DIVERGED)
_COSTING = (Standing.OUTDATED, Standing.DIVERGED, Standing.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Compared:
    """One model: what it is here and there, and what fetching it would bring: each blob, in bytes.

    `origin` is the name it has at its registry, or would have if it was made here.
    """

    name: Name
    origin: Name
    here: Digest
    there: Digest | None = None
    standing: Standing = Standing.CLOUD
    missing: Mapping[Digest, int] | None = None

    @property
    def cost(self) -> int | None:
        """The bytes that fetching it alone would cost."""
        return None if self.missing is None else sum(self.missing.values())

    def __str__(self) -> str:
        return str(self.name)


@dataclass(frozen=True, slots=True)
class Failed:
    """One model that could not be compared, and why."""

    name: Name
    error: RegistryError

    def __str__(self) -> str:
        return str(self.name)


Row = Compared | Failed


def rule(settings: Settings) -> Rule:
    """How patient a comparison is. A settings file speaks of what moves bytes: it shortens 30 s, no more."""
    wish = settings.get("give_up_after")
    if not wish:
        return _PATIENCE
    said = "give_up_after" in settings.options
    return Rule(give_up_after=wish if said else min(wish, _PATIENCE.give_up_after))


def every(store: Store) -> list[Name]:
    """Every model that is here."""
    return sorted((entry.name for entry in store.entries()), key=str)


def compared(
    invocation: Invocation, store: Store, opened: Registries, engine: Engine, names: Sequence[Name]
) -> list[Row]:
    """Each of `names`, in their order; what cannot be told of one is its error, and stops no other.

    Stopped once the engine was.
    """
    compare = _Comparison(invocation, store, opened, engine)
    rows: dict[int, Row] = {}
    tasks = [partial(compare.numbered, number, name) for number, name in enumerate(names)]
    for result in side_by_side(tasks, _AT_ONCE):
        if isinstance(result, Exception):
            raise result
        rows[result[0]] = result[1]
    return [rows[number] for number in sorted(rows)]


class _Comparison:
    """Asks the registries; of one that patience ended with, every model has the same error."""

    def __init__(self, invocation: Invocation, store: Store, opened: Registries, engine: Engine) -> None:
        self._store = store
        self._opened = opened
        self._engine = engine
        self._note = invocation.terminal.note
        self._waited_for: set[str] = set()
        self._given_up: dict[str, TransientError] = {}
        self._lock = threading.Lock()
        self._rule = rule(invocation.settings)

    def numbered(self, number: int, name: Name) -> tuple[int, Row]:
        """The row of a name, and its number."""
        try:
            return number, self._row(name)
        except RegistryError as error:
            error.name = error.name or str(name)
            return number, Failed(name, error)

    def _row(self, name: Name) -> Compared:
        with sources.telling_tags(self._store, name):
            manifest = self._store.resolve(name)
        known, here = self._store.origins.get(name), manifest.digest
        if known == ModelOrigin(None, here):
            return Compared(name, name, here, standing=Standing.MADE_HERE)
        origin = self._store.origins.asked(name)
        if _runs_in_the_cloud(manifest):
            return Compared(name, origin, here)
        remote = self._opened.remote(origin)
        there = self._asked(origin, lambda: _digest(lambda: remote.digest(origin)))
        fetched = known.digest if known and known.name else None
        alike = manifest.with_or_without_newline()
        published = alike if alike in (there, fetched) and here not in (there, fetched) else here

        def was_there(digest: Digest) -> bool:
            name = origin.with_reference(digest)
            return self._asked(origin, lambda: _digest(lambda: remote.digest(name))) is not None

        found = standing(published, fetched, there, lambda: was_there(here) or was_there(alike))
        if found is Standing.CURRENT and known != ModelOrigin(origin, published):
            self._store.origins.put(name, ModelOrigin(origin, published))
        elif found in _CHANGED:
            self._store.origins.put_changed(name, here)
        missing = None
        if found in _COSTING:
            newer = self._asked(origin, lambda: remote.resolve(origin))
            missing = {blob.digest: self._store.missing(blob) for blob in newer.blobs()}
        return Compared(name, origin, here, there, found, missing)

    def _asked(self, origin: Name, call: Callable[[], T]) -> T:
        """What a registry answers, with some patience; one that was given up before gets none."""
        if (before := self._given_up.get(origin.host)) is not None:
            raise _same(before)
        patience = self._engine.patience(origin, origin)
        patience.rule = self._rule
        patience.note = partial(self._waits, origin.host)
        try:
            return patience.retry(call, Side.SOURCE)
        except TransientError as error:
            if patience.stop.is_set():
                raise Stopped from error
            with self._lock:
                first = self._given_up.setdefault(origin.host, error)
            raise _same(first) from error
        finally:
            self._engine.over(patience)

    def _waits(self, host: str, why: str) -> None:
        """Say once of a host that it is waited for, however many models want it."""
        with self._lock:
            first = host not in self._waited_for
            self._waited_for.add(host)
        if first:
            self._note(f"ferry: {visible(why)}")


def _same(error: TransientError) -> TransientError:
    """The same for another model."""
    another = TransientError(error.message, **error.details)
    another.name = ""
    return another


def _digest(ask: Callable[[], Digest]) -> Digest | None:
    """What `ask` answers; None where there is no such name."""
    try:
        return ask()
    except NotFoundError:
        return None


def _runs_in_the_cloud(manifest: Manifest) -> bool:
    """Whether it is a name for a model that runs elsewhere: Ollama keeps no layers of those."""
    config = manifest.config
    return not manifest.layers and config is not None and config.media_type == DOCKER_CONFIG
