"""What passes between clients and a server, and every secret in it; what other programs see meanwhile."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

# Each kind of secret, as it stands in HTTP.
PASSING = {
    "token": re.compile(rb'"(?:access_)?token": ?"([^"]{20,})"'),
    "authorization": re.compile(rb"(?im)^authorization: (?:bearer|basic) (\S+)"),
    "signature": re.compile(rb"(?im)^authorization: [A-Za-z0-9+/=]+:([A-Za-z0-9+/=]{80,})"),
    "API key": re.compile(rb'"secret": ?"([^"]+)"'),
    "cookie": re.compile(rb"(?im)^set-cookie: [^=]+=([^;]{16,});"),
    "ID token": re.compile(rb"subject_token=(eyJ[^&\s]{100,})"),
    "job's token": re.compile(rb"(fry_tp_[A-Za-z0-9_.-]{100,})"),
    "one-time link": re.compile(rb'"url": ?"[^"#]+#([^"]+)"'),
    "form": re.compile(rb"(?:password|code|token)=([^&\s]{8,})"),
    "download link": re.compile(rb"/v2/_capability/([A-Za-z0-9_.-]{40,})"),
}


class Wiretap:
    """A relay on a port of its own to `target`, which keeps all that passes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.target: tuple[str, int] = ("127.0.0.1", 0)
        self._passed: list[bytearray] = []
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def passed(self) -> bytes:
        """All bytes, a direction of a connection after another."""
        return b"\n".join(map(bytes, self._passed))

    def secrets(self) -> dict[str, set[bytes]]:
        """What of it nobody else may see, by kind."""
        return {kind: set(form.findall(self.passed)) for kind, form in PASSING.items()}

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(one, other), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        kept = bytearray()
        self._passed.append(kept)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class Onlooker:
    """Another program of this machine, which reads the arguments of all that run."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            for path in Path("/proc").iterdir():  # a glob asks what is there, and fails where one just ended
                with contextlib.suppress(OSError):
                    self.seen.add((path / "cmdline").read_bytes())


def spellings(secret: bytes) -> set[bytes]:
    """The usual ways to write a secret down."""
    text = secret.decode()
    return {secret, quote(text, safe="").encode(), b64encode(secret).rstrip(b"=")}


def found(secrets: dict[str, set[bytes]], where: bytes) -> list[str]:
    """The kinds of secret that stand in `where`."""
    return [
        kind
        for kind, each in secrets.items()
        if any(spelling in where for secret in each for spelling in spellings(secret))
    ]
