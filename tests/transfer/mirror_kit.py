"""Two registries without a socket, and a mirror between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from faults import quick
from sample_models import KiB, Model, put

from cli.patient_remote import PatientRemote
from registry.connect import in_process
from registry.errors import Side
from registry.model.manifests import OCI_MANIFEST, Manifest
from registry.model.names import Name
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.table import Unguarded
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.transfer.engine import Engine
from registry.transfer.mirror import AT_ONCE, Mirror
from registry.transfer.one_pair import Copying, Looking
from registry.transfer.options import Options
from registry.transfer.pairs import Outcome, Pair, Referrers, Result, Unlisted
from registry.wire.messages import Origin, Request, Response

SOURCE, DESTINATION = "source.example", "destination.example"


@dataclass
class Registry:
    """An embedded registry without a socket, every request to which is remembered; `wrong` may answer it."""

    host: str
    asked: list[str] = field(default_factory=list)
    wrong: Callable[[Request], Response | None] = lambda _request: None
    moved: int = 0  # bytes of blobs that came in

    def __post_init__(self) -> None:
        self._inner = in_process(Unguarded(App(MemoryDepot())))
        self.remote = Remote(Peer(self._answer, Origin("https", self.host, 443)))

    def name(self, text: str) -> Name:
        return Name.parse(f"{self.host}/{text}")

    def patient(self, side: Side) -> PatientRemote:
        return PatientRemote(self.remote, Engine(quick()), side)

    def _answer(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.path}")
        if "/blobs/uploads/" in request.path:
            self.moved += request.length or 0
        answer = self.wrong(request)
        return answer if answer is not None else self._inner(request)


@dataclass
class Pairing:
    source: Registry = field(default_factory=lambda: Registry(SOURCE))
    destination: Registry = field(default_factory=lambda: Registry(DESTINATION))
    results: list[Result] = field(default_factory=list)

    def put(self, text: str, model: Model) -> None:
        put(self.source.remote, self.source.name(text), model)

    def pair(self, text: str, to: str = "") -> Pair:
        return Pair(
            self.source.remote,
            self.source.name(text),
            self.destination.remote,
            self.destination.name(to or text),
        )

    def run(
        self,
        *pairs: Pair | Unlisted,
        options: Options | None = None,
        referrers: Referrers = Referrers.CHANGED,
        keep_going: bool = True,
        looks: bool = False,
    ) -> dict[str, Result]:
        self.source.asked.clear()
        self.destination.asked.clear()
        engine = Engine(options or quick(), at_once=AT_ONCE)
        work = Looking(engine) if looks else Copying(engine)
        results: list[Result] = []
        Mirror(engine, work, results.append, keep_going=keep_going).run(
            replace(pair, referrers=referrers) if isinstance(pair, Pair) else pair for pair in pairs
        )
        return {result.destination.rpartition("/")[2]: result for result in results}


def signature(subject: Manifest, words: bytes) -> Model:
    made = Model.of(words, media_type="application/vnd.example.signature+unheard-of")
    document = json.loads(made.manifest.raw)
    document |= {
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "subject": subject.descriptor().as_json(),
    }
    return replace(made, manifest=Manifest.parse(json.dumps(document).encode()))


def outcomes(results: Iterable[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def models(between: Pairing, count: int, size: int = KiB) -> list[str]:
    names = [f"acme/m{number}:1" for number in range(count)]
    for number, name in enumerate(names):
        between.put(name, Model.random(number, size))
    return names
