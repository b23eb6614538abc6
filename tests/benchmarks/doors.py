"""How a registry is reached: in plain HTTP, or over TLS by one of three doors that stand in front of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from certificates import write_certificate
from peers import CNCF, LOCATION, Registry, ferry_command, find, free_port, running, tls_front

# own: the registry speaks TLS itself (records of 16 KiB), in a second process; nginx: in front, with
# proxy_buffering on; nginx-off: with proxy_buffering off, which makes records of 4 KiB
DOORS = ("", "own", "nginx", "nginx-off")


@dataclass(frozen=True)
class Door:
    """`host` is what stands in front of a name; `ca` the certificate that proves it, None for plain HTTP.

    `log` has a line for each request, where the registry writes one; `pid` is the registry's process.
    """

    host: str
    ca: Path | None = None
    log: Path | None = None
    pid: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://{self.host}"


@contextlib.contextmanager
def door(kind: str, registry: Registry, place: Path) -> Iterator[Door]:
    """A way to `registry`, with its files below `place`."""
    if not kind:
        yield Door(registry.host, log=registry.log, pid=registry.process.pid)
    elif kind == "own":
        with _second_process(registry, place) as found:
            yield found
    else:
        location = LOCATION.format(upstream=registry.host)
        if kind == "nginx":
            location = location.replace("proxy_buffering off", "proxy_buffering on")
        with tls_front(place, registry.host, location) as front:
            yield Door(front.host, front.ca, pid=registry.process.pid)


@contextlib.contextmanager
def _second_process(registry: Registry, place: Path) -> Iterator[Door]:
    """The same program on the same data, speaking TLS."""
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "cert.pem").exists():
        write_certificate(place)
    host, config = f"127.0.0.1:{free_port()}", place / "config.yml"
    certificate, key = place / "cert.pem", place / "key.pem"
    if registry.kind == "ferry serve":
        data = _copied(registry.data, place / "data")
        command = [*ferry_command(), "serve", "--data", str(data), "--listen", host, "--anonymous", "write"]
        command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    else:
        tls = f"  tls: {{certificate: {certificate}, key: {key}}}\n"
        config.write_text(CNCF.format(data=registry.data, host=host) + tls)
        command = [find(registry.kind), "serve", str(config)]
    env = {**os.environ, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    with running(command, place / "log", lambda: _listens(host), env) as process:
        yield Door(host, certificate, place / "log", process.pid)


def _copied(data: Path, copy: Path) -> Path:
    """A data directory of its own, as `ferry serve` wants one: blobs by a second name, the rest copied."""

    def copied(source: str, target: str) -> None:
        if "/blobs/" in source:
            Path(target).hardlink_to(source)
        else:
            shutil.copy2(source, target)

    shutil.copytree(data, copy, copy_function=copied, dirs_exist_ok=True)
    return copy


def _listens(host: str) -> bool:
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=5):
        return True
