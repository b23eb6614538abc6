"""A door in this process, a pretend ollama.com behind it, and sockets to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pretend_cloud import Cloud

from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, Secret
from registry.connect_gateway import GatewayPlan, GatewayServer
from registry.net.listener.address import Address
from registry.net.listener.record import AccessRecord
from registry.net.network import Network
from registry.wire.masking import Masking
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
API_KEY = "sk-ollama-000111222333"
MODEL = "gpt-oss:120b-cloud"
ASKED = {"model": MODEL, "prompt": "hello"}


@dataclass
class Answer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class House:
    """A running door; `records` is what its log is told."""

    cloud: Cloud
    secrets: tuple[Secret, ...] = (KEY,)
    token: str = ""
    disabled: str = ""
    network: Network = field(default_factory=lambda: Network(agent="ferry-test"))
    to: str = ""
    newer: Callable[[], tuple[Secret, ...] | None] = lambda: None
    records: list[AccessRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._told = threading.Condition()
        self.door = GatewayServer(
            GatewayPlan(
                Origin.of(self.to or self.cloud.spy.url),
                self.network,
                self.secrets,
                Address(),
                "ada's laptop",
                self._record,
                Masking(),
                self.newer,
                token=self.token,
                disabled=self.disabled,
                source="env" if self.disabled else "none",
            )
        )
        self.url = self.door.start()
        self.port = int(self.url.rpartition(":")[2])
        self._stopped = False

    def stop(self, patience: float = 1.0) -> None:
        if not self._stopped:
            self._stopped = True
            self.door.stop(patience)

    def _record(self, record: AccessRecord) -> None:
        with self._told:
            self.records.append(record)
            self._told.notify_all()

    def record(self, number: int = 0) -> AccessRecord:
        """What the log was told, once it was."""
        with self._told:
            assert self._told.wait_for(lambda: len(self.records) > number, 20)
            return self.records[number]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One whole request; underscores in header names become dashes. `body`: bytes, or what is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(
                method, path, _bytes(body), {k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def opened(self, path: str, body: object) -> socket.socket:
        """A connection that has asked, and has read nothing yet."""
        raw = _bytes(body) or b""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        opened.sendall(head.encode() + raw)
        return opened


def _bytes(body: object) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def until(opened: socket.socket, mark: bytes) -> bytes:
    """What comes until `mark`, which is in it."""
    read = b""
    while mark not in read:
        more = opened.recv(65536)
        assert more, f"closed after {read!r}"
        read += more
    return read


SECRETS: dict[str, tuple[Secret, ...]] = {
    "key": (KEY,),
    "api key": (ApiKey(API_KEY),),
    "both": (ApiKey(API_KEY), KEY),
}
