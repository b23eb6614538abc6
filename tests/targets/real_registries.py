"""A model of 60 MB, and its way up and down through a registry double on a clock that only pauses move."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from registry_double import ORIGIN, MiB, Registry
from sample_models import Model

from registry.auth.credentials import Account
from registry.auth.session import Session
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.methods import Methods, memory_methods
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.sessions import Sessions, memory_sessions
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.progress import Report
from registry.transfer.retry import Patience, Rule

NAME = Name.parse("models.example/acme/tiny:1")
SIZE = 60_000_000
GIVE_UP = 600.0


@functools.cache
def weights() -> tuple[Model, Memory]:
    """The model, and a place that has it. No two mebibytes are alike, or a lost one would not be seen."""
    block = b"weights!" * (MiB // 8 - 1)
    data = b"".join(at.to_bytes(8, "big") + block for at in range(-(-SIZE // MiB)))[:SIZE]
    model, place = Model.of(data, b"a licence"), Memory()
    place.prepare(NAME, model.manifest)
    for blob in model.manifest.blobs():
        intake = place.receive(NAME, blob, None)
        intake.write(Span(0, blob.size), [model.blobs[blob.digest]])  # type: ignore[union-attr]
        intake.prove()  # type: ignore[union-attr]
        intake.commit()  # type: ignore[union-attr]
    place.publish(NAME, model.manifest)
    return model, place


@dataclass
class Time:
    """A clock that only pauses move, and each request by a hundredth of a second."""

    now: float = 1000.0
    notes: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def options(self, give_up: float) -> Options:
        patience = lambda: Patience(  # noqa: E731
            Rule(give_up), clock=self, sleep=self.sleep, chance=lambda: 1.0, note=self.notes.append
        )
        return Options(patience=patience, jobs=1)


@dataclass
class Client:
    """One person's ferry: what it remembers outlives a push."""

    registry: Registry
    sessions: Sessions = field(default_factory=memory_sessions)
    methods: Methods = field(default_factory=memory_methods)
    time: Time = field(default_factory=Time)
    give_up: float = GIVE_UP

    @property
    def remote(self) -> Remote:
        """The registry, asked by a new process."""
        session = Session(
            self.registry, ORIGIN, Account(), clock=lambda: self.time.now, new_nonce=lambda: "n"
        )
        return Remote(Peer(session, ORIGIN, lambda: self.time.now), self.sessions, methods=self.methods)

    def push(self, name: Name = NAME) -> Report:
        """Up, patiently."""
        return copy(weights()[1], self.remote, NAME, to=name, options=self.time.options(self.give_up))

    def pull(self) -> Model:
        """Down, and what came."""
        here = Memory()
        copy(self.remote, here, NAME, options=self.time.options(self.give_up))
        manifest = here.resolve(NAME)
        return Model(
            manifest,
            {
                blob.digest: b"".join(here.open(NAME, blob, Span(0, blob.size)).stream)
                for blob in manifest.blobs()
            },
        )
