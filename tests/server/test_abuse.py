"""Strangers and dead lines, all at once, against a real `ferry serve`: others do not notice (BAR, "Abuse").

Small here; `--runs 5` is the size that BAR.md names, and then the times that it names hold too.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from data_directory import prepared
from peers import Registry, ferry_command, ferry_server, ferry_tool, http_call
from sample_models import Model, get, put

from registry.auth import signing
from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.connect import HostSettings, Registries
from registry.model.digests import Digest
from registry.model.names import Name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sets limits with prlimit")

ADA = PrivateKey(bytes([7]) * 32)
MEMORY = 200 * 1024  # KiB (BAR, I8)
HALF = b"x" * 100_000  # of a body that is said to have 4 MB


@dataclass
class House:
    """A registry in which ada has a public and a private model, and what strangers need to abuse it."""

    registry: Registry
    model: Model
    name: Name
    sockets: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def host(self) -> str:
        return self.registry.host

    def connect(self, words: bytes = b"", receive: int = 0) -> socket.socket:
        opened = self.sockets.enter_context(socket.socket())
        opened.settimeout(60)
        if receive:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        host, _, port = self.host.rpartition(":")
        opened.connect((host, int(port)))
        with contextlib.suppress(ConnectionError):  # refused already
            opened.sendall(words)
        return opened

    def head(self, method: str, path: str, *fields: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.host}", *fields, "", ""]).encode()

    def token(self, scope: str) -> str:
        """Of ada."""
        nonce = secrets.token_urlsafe(16)
        realm = f"http://{self.host}/v2/token"
        url = signing.token_url(realm, self.host, [scope], now=time.time(), nonce=nonce)
        value = signing.authorization(ADA, signing.token_text(url))
        answer = http_call("GET", url, headers={"Authorization": value})
        assert answer.status == 200, answer.body
        return answer.body.decode().split('"token": "')[1].split('"')[0]

    def remote(self) -> Registries:
        return Registries(lambda _: HostSettings(), Credentials(key=ADA))

    def kibibytes(self) -> int:
        """The most memory that the server ever had."""
        status = Path(f"/proc/{self.registry.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


@contextlib.contextmanager
def house(place: Path, *words: str, errors: int | None = None) -> Iterator[House]:
    """`words` stand in front of `ferry`."""
    tool, data, public = ferry_tool(place / "admin"), prepared(place / "data"), place / "ada.pub"
    public.write_text(ADA.public.line + "\n")
    tool("admin", "user", "add", "ada", "--key", public, "--data", data)
    tool("admin", "visibility", "ada/tiny", "public", "--data", data)
    program = [*words, *ferry_command()]
    with ferry_server(place, "--anonymous", "none", program=program, errors=errors) as registry:
        model = Model.random(1, 20_000_000, 1000)
        opened = House(registry, model, Name.parse(f"{registry.host}/ada/tiny:1"))
        with opened.sockets, contextlib.closing(opened.remote()) as connections:
            put(connections.remote(opened.name), opened.name, model)
            yield opened


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("attacked")) as opened:
        yield opened


class Health:
    """Asks `/healthz` over and over, each time over a new connection: the longest it took, in seconds."""

    def __init__(self, host: str) -> None:
        self.longest = 0.0
        self.failed: list[str] = []
        self.asked = 0
        self._url = f"http://{host}/healthz"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            try:
                status = http_call("GET", self._url).status
                if status != 200:
                    self.failed.append(str(status))
            except OSError as error:
                self.failed.append(str(error))
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - began)


def scale(config: pytest.Config) -> tuple[int, float]:
    """How many of each kind, and how long health may take (here others may use the machine too)."""
    runs = config.getoption("--runs")
    return (200 * runs, 1.0) if runs else (60, 15.0)


@contextlib.contextmanager
def database_held(data: Path) -> Iterator[None]:
    """Somebody has the database's write lock."""
    with contextlib.closing(sqlite3.connect(data / "registry.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def test_all_at_once_and_a_member_does_not_notice(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    many, patience = scale(pytestconfig)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 5 * many:
        pytest.skip("too few open files are allowed here")
    nobody_reads, errors = os.pipe()
    with house(tmp_path, errors=errors) as attacked, contextlib.closing(attacked.remote()) as connections:
        os.close(errors)
        blob = f"/v2/ada/tiny/blobs/{attacked.model.manifest.layers[0].digest}"
        target = connections.remote(attacked.name)
        assert get(target, attacked.name) == attacked.model  # it has a token from now on
        bearer = f"Authorization: Bearer {attacked.token('repository:ada/tiny:pull,push')}"
        closing = uploads_to_hash(attacked, bearer, 16, 4_000_000 if many < 1000 else 64_000_000)

        with Health(attacked.host) as health:
            for _ in range(many):  # half-sent bodies
                attacked.connect(
                    attacked.head("PUT", "/v2/ada/tiny/manifests/1", "Content-Length: 4000000") + HALF
                )
                attacked.connect(attacked.head("GET", blob), receive=4096)  # readers that never read
            for number in range(
                many
            ):  # guesses at passwords, each of which costs an argon2 while it is let in
                attacked.connect(guess(attacked, number))
            for _ in range(300):  # idle
                attacked.connect()
            for words in closing:
                attacked.connect(words)
            with database_held(attacked.registry.data):
                for number in range(20):  # writers that wait for it
                    data = b"%d" % number
                    path = f"/v2/ada/tiny/blobs/uploads/?digest={Digest.of(data)}"
                    words = attacked.head("POST", path, bearer, f"Content-Length: {len(data)}")
                    attacked.connect(words + data)
                for _ in range(2000 // 20):  # more lines than the log's pipe holds
                    connection = attacked.connect(attacked.head("GET", "/v2/" + "x" * 2000) * 20)
                    connection.close()
                assert get(target, attacked.name) == attacked.model
            assert health.asked > 0

        assert (health.failed, health.longest < patience) == ([], True), f"{health.longest:.1f} s"
        assert attacked.kibibytes() < MEMORY
    os.close(nobody_reads)


def guess(attacked: House, number: int) -> bytes:
    """A form of the sign-in page, as a browser sends it."""
    form = b"name=ada%d&password=a+wrong+guess" % number
    origin, kind = f"Origin: http://{attacked.host}", "Content-Type: application/x-www-form-urlencoded"
    return attacked.head("POST", "/signin", origin, kind, f"Content-Length: {len(form)}") + form


def uploads_to_hash(attacked: House, bearer: str, count: int, size: int) -> list[bytes]:
    """Closing PUTs of uploads whose every byte has to be hashed again: the digest is of another kind."""
    data = bytes(size)
    digest = Digest.of(data, "sha512")
    name, _, value = bearer.partition(": ")
    puts = []
    for _ in range(count):
        begun = attacked.registry.call("POST", "/v2/ada/tiny/blobs/uploads/", headers={name: value})
        path = begun.headers["location"].partition(attacked.host)[2]
        assert attacked.registry.call("PATCH", path, data, {name: value}).status == 202
        puts.append(attacked.head("PUT", f"{path}?digest={digest}", bearer, "Content-Length: 0"))
    return puts


def test_idle_connections_make_room_where_descriptors_are_few(tmp_path: Path) -> None:
    with house(tmp_path, "prlimit", "--nofile=256:256") as attacked:
        with Health(attacked.host) as health:
            # Not in one burst, or a probe is the longest idle before its request is there.
            for _ in range(300):
                attacked.connect()
                time.sleep(0.002)
            until = health.asked + 3
            while health.asked < until:
                time.sleep(0.01)
        assert health.failed == []
        assert health.longest < 15


def test_members_who_send_manifests_by_halves_are_bounded_too(attacked: House) -> None:
    bearer = f"Authorization: Bearer {attacked.token('repository:ada/tiny:pull,push')}"
    words = attacked.head("PUT", "/v2/ada/tiny/manifests/2", bearer, "Content-Length: 4000000")
    for _ in range(60):
        attacked.connect(words + b"x" * 2_000_000)
    assert attacked.registry.call("GET", "/healthz").status == 200
    assert attacked.kibibytes() < MEMORY


def test_a_dead_connection_does_not_own_its_upload(attacked: House) -> None:
    bearer = f"Bearer {attacked.token('repository:ada/tiny:pull,push')}"
    fields = {"Authorization": bearer}
    begun = attacked.registry.call("POST", "/v2/ada/tiny/blobs/uploads/", headers=fields)
    path = begun.headers["location"].partition(attacked.host)[2]
    words = attacked.head("PATCH", path, f"Authorization: {bearer}", "Content-Length: 9000000")
    attacked.connect(words + HALF)  # and never a byte more, nor an end

    deadline, held = time.monotonic() + 30, f"0-{len(HALF) - 1}"
    while (told := attacked.registry.call("GET", path, headers=fields)).headers.get("range") != held:
        assert told.status == 204 or (told.status, told.headers["retry-after"]) == (429, "1")
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert attacked.registry.call("DELETE", path, headers=fields).status == 204
