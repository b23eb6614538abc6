"""A registry that is asked again while it is busy, or away for a while: with an engine's patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from registry.contracts import Publication
from registry.errors import Side
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.targets.remote import Remote
from registry.transfer.engine import Engine
from registry.wire.messages import Origin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PatientRemote:
    """`remote`, which is on one `side` of a mirror. It raises RegistryError, and Stopped as the engine."""

    remote: Remote
    engine: Engine
    side: Side

    @property
    def origin(self) -> Origin:
        """Where it is."""
        return self.remote.peer.origin

    def tags(self, name: Name) -> Iterator[str]:
        """Every tag of the repository."""
        return self._listing(name).tags(name)

    def publications(self, name: Name) -> Mapping[str, Publication | None]:
        """Every tag of the repository, and what the registry says of it."""
        return self._listing(name).publications(name)

    def repositories(self, name: Name) -> list[str]:
        """Every repository at the host of `name`."""
        return list(self._listing(name).repositories())

    def digest(self, name: Name) -> Digest:
        """What `name` stands for."""
        return self.asked(name, lambda: self.remote.digest(name))

    def resolve(self, name: Name) -> Manifest:
        """The manifest."""
        return self.asked(name, lambda: self.remote.resolve(name))

    def untag(self, name: Name) -> bool:
        """Delete the tag alone; False where the registry deletes by digest only."""
        return self.asked(name, lambda: self.remote.untag(name))

    def _listing(self, name: Name) -> Remote:
        """The registry, whose lists go on where a page of one failed: they are not read anew."""
        peer = replace(self.remote.peer, patiently=lambda page: self.asked(name, page))
        return replace(self.remote, peer=peer)

    def asked(self, name: Name, question: Callable[[], T]) -> T:
        """The answer to a question about `name`."""
        return self.engine.ask(question, self.side, name, name)
