"""Client and embedded registry prove each other: direct uploads over real sockets, with accounts and keys."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sample_models import GRAIN, Model, breaking, chunked, put
from spy import Spy, reply
from waiting import until

from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.auth.prefixes import Prefix
from registry.auth.secrets import Login
from registry.connect import HostSettings, Registries
from registry.contracts import How
from registry.errors import CorruptError, Side, TransientError
from registry.model.names import Name
from registry.model.spans import Span
from registry.net.listener.listener import Listener
from registry.net.listener.record import AccessRecord
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.service import Plan, Service
from registry.server.table import Unguarded
from registry.targets.direct import DirectIntake
from registry.targets.memory import Memory
from registry.targets.remote import Remote
from registry.targets.sessions import file_sessions
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.progress import Report
from registry.transfer.retry import Patience, Rule
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Origin, Request, Response

KEY = PrivateKey(bytes([7]) * 32)
SIZE = 3 * 1024 * 1024
MODEL = Model.random(2, SIZE, 1000)
BLOB = MODEL.manifest.layers[0]
DATA = MODEL.blobs[BLOB.digest]
OPTIONS = Options(patience=lambda: Patience(Rule(give_up_after=20, first_pause=0.001, longest_pause=0.01)))


class House:
    """`ferry serve` with one account, and that person's connections to it."""

    def __init__(self, directory: Path, *, direct: bool = True) -> None:
        self.served: list[AccessRecord] = []
        self.trace: list[str] = []
        self.directory = directory
        plan = Plan(directory / "data", record=self.served.append, direct_upload=direct)
        self.service = Service(plan)
        self.service.registry.accounts.add_user("acme", key=KEY.public)
        self.origin = Origin.of(self.service.start())
        self.name = Name.parse(f"{self.origin.netloc}/acme/tiny:1")
        self._opened: list[Registries] = []

    def remote(self) -> Remote:
        """The registry, as a further process reaches it."""
        uploads = file_sessions(self.directory / "state")
        opened = Registries(
            lambda _: HostSettings(), Credentials(key=KEY), uploads=uploads, trace=self.trace.append
        )
        self._opened.append(opened)
        return opened.remote_at(self.origin)

    def push(self, model: Model = MODEL) -> Report:
        source = Memory(grain=GRAIN)
        put(source, self.name, model)
        return copy(source, self.remote(), self.name, options=OPTIONS)

    def begun(self) -> DirectIntake:
        """A direct upload of BLOB."""
        intake = self.remote().receive(self.name, BLOB, None)
        assert isinstance(intake, DirectIntake)
        return intake

    def bytes_in(self, method: str) -> int:
        """How many bytes requests of this method brought."""
        return sum(request.received for request in self.served if request.method == method)

    def uploads(self) -> list[Path]:
        """The files of uploads that are not blobs."""
        return list((self.directory / "data" / "uploads").glob("*"))

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.service.stop()


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(**settings: bool) -> House:
        made.append(House(tmp_path, **settings))
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture
def house(houses: Callable[..., House]) -> House:
    return houses()


def test_a_push_puts_the_whole_blob_once_and_the_registry_proves_it(house: House) -> None:
    report = house.push()

    assert {blob.how for blob in report.blobs} == {How.UPLOADED}
    [store] = [request for request in house.served if "/_storage/" in request.path]
    assert (store.method, store.status, store.received) == ("PUT", 200, SIZE)
    assert house.bytes_in("PATCH") == 0
    assert house.remote().resolve(house.name).raw == MODEL.manifest.raw
    assert b"".join(house.remote().open(house.name, BLOB, Span(0, SIZE)).stream) == DATA
    assert house.uploads() == []


def test_neither_log_nor_trace_shows_the_link(house: House) -> None:
    house.push()

    lines = [*house.trace, *(request.path for request in house.served)]
    assert any(line.endswith("/v2/_storage/…") for line in lines)
    assert not [line for line in lines if "_storage/" in line and not line.endswith("_storage/…")]


def test_without_the_option_nothing_is_offered(houses: Callable[..., House]) -> None:
    house = houses(direct=False)

    house.push()

    assert not [request for request in house.served if "/_storage/" in request.path]
    assert house.bytes_in("PATCH") == SIZE


def test_a_blob_the_repository_has_is_not_sent_again(house: House) -> None:
    house.push()
    before = house.bytes_in("PUT")

    assert house.remote().receive(house.name, BLOB, None) is None
    assert house.bytes_in("PUT") == before


def test_a_direct_upload_that_broke_goes_on_where_it_stopped_in_the_next_process(house: House) -> None:
    half = SIZE // 2
    intake = house.begun()
    with pytest.raises(TransientError):
        intake.write(Span(0, SIZE), breaking(DATA[:half], TransientError("the power went")))
    intake.close()

    report = house.push()

    kept = SIZE - house.bytes_in("PATCH")
    assert 0 < kept <= half
    assert next(blob.how for blob in report.blobs if blob.blob == BLOB) is How.RESUMED
    assert b"".join(house.remote().open(house.name, BLOB, Span(0, SIZE)).stream) == DATA
    assert house.uploads() == []


def test_a_direct_upload_that_broke_goes_on_in_the_same_run(house: House) -> None:
    intake = house.begun()
    with pytest.raises(TransientError):
        intake.write(Span(0, SIZE), breaking(DATA[: SIZE // 2], TransientError("reset")))

    until(lambda: sum(path.stat().st_size for path in house.uploads()) > 0)  # the server has read some of it
    Patience(Rule(first_pause=0.01)).retry(intake.resume, Side.DESTINATION)
    front = intake.received.front
    intake.write(Span(front, SIZE - front), chunked(DATA[front:]))
    intake.commit()

    assert 0 < front <= SIZE // 2
    assert house.remote().size(house.name, BLOB) == SIZE


def test_wrong_bytes_are_refused_and_leave_nothing(house: House) -> None:
    intake = house.begun()
    intake.write(Span(0, SIZE), chunked(bytes(SIZE)))

    with pytest.raises(CorruptError):
        intake.commit()
    intake.close()

    assert house.remote().size(house.name, BLOB) is None
    assert house.uploads() == []
    assert not list((house.directory / "state").glob("*"))


class Locked:
    """A registry that wants a password for everything, and says `offer` to who asks for a direct upload."""

    def __init__(self, offer: str = "") -> None:
        self.offer = offer
        self.stored: list[Request] = []
        self._app = Unguarded(App(MemoryDepot(), direct_upload=True))
        self._listener = Listener(self)
        self.origin = Origin("http", "127.0.0.1", self._listener.start())
        credentials = Credentials(logins={Prefix(self.origin.netloc): Login("ada", "password")})
        self._connections = Registries(lambda _: HostSettings(), credentials)

    def __call__(self, request: Request) -> Response | Accept:
        if request.parameter("sig"):
            self.stored.append(request)
            return Response(200)
        if "Authorization" not in request.headers:
            return Response(401, Headers({"WWW-Authenticate": 'Basic realm="x"'}))
        answer = self._app(request)
        if isinstance(answer, Response) and "X-Direct-Upload-URL" in answer.headers:
            headers = answer.headers.with_("X-Direct-Upload-URL", self.offer)
            return Response(answer.status, headers.with_("X-Signed-Header-X-Once", "1"))
        return answer

    def upload(self) -> None:
        """As much of a push as goes to storage."""
        name = Name.parse(f"{self.origin.netloc}/acme/tiny:1")
        intake = self._connections.remote_at(self.origin).receive(name, BLOB, None)
        assert isinstance(intake, DirectIntake)
        intake.write(Span(0, SIZE), chunked(DATA))

    def close(self) -> None:
        self._connections.close()
        self._listener.stop()


@pytest.fixture
def locked() -> Iterator[Locked]:
    registry = Locked()
    yield registry
    registry.close()


def test_storage_at_the_registrys_own_address_is_not_told_who_we_are(locked: Locked) -> None:
    locked.offer = f"{locked.origin}/v2/acme/tiny/blobs/uploads/1?sig=1"

    locked.upload()

    [stored] = locked.stored
    assert (stored.method, stored.headers.get("X-Once")) == ("PUT", "1")
    assert "Authorization" not in stored.headers


def test_storage_elsewhere_is_not_told_who_we_are(locked: Locked) -> None:
    target = "/a%2Fb/../c+d?X-Sig=%2b&X-Sig=1"

    with Spy((reply(200, ETag='"x"'),)) as storage:
        locked.offer = f"{storage.url}{target}"
        locked.upload()
        [seen] = storage.seen

    assert seen.line == f"PUT {target} HTTP/1.1".encode()
    assert seen.body == DATA
    assert seen.header("X-Once") == "1"
    assert seen.header("Authorization") is None
    assert base64.b64encode(b"ada:password") not in storage.everything
