"""A thousand connections that do nothing, or hardly anything, leave the registry answering."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import Registry, ferry_command, ferry_server
from sample_models import Model, get, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name

COUNT = 1000
THREADS = 40
MEMORY = 200  # MiB (BAR, I8)
BIG = 3_000_000


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Registry]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * COUNT + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        with ferry_server(tmp_path, program=ferry_command()) as registry:
            yield registry
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(registry: Registry, stack: contextlib.ExitStack, words: bytes) -> socket.socket:
    host, _, port = registry.host.rpartition(":")
    opened = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
    opened.sendall(words)
    return opened


def upload(registry: Registry) -> str:
    """The path of a new upload session."""
    location = registry.call("POST", "/v2/lab/slow/blobs/uploads/").headers["location"]
    return location.partition(registry.host)[2] or location


def status_of(registry: Registry, key: str) -> int:
    """A number that the kernel keeps about the server's process."""
    status = Path(f"/proc/{registry.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(f"{key}:")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_thousand_slow_connections_cost_no_threads_and_nobody_waits_for_them(lab: Registry) -> None:
    name = Name.parse(f"{lab.host}/lab/slow:1")
    opened = Registries(lambda _: HostSettings(), Credentials())
    model = Model.random(1, BIG)
    put(opened.remote(name), name, model)
    blob = f"/v2/lab/slow/blobs/{model.manifest.layers[0].digest}"
    host = f"Host: {lab.host}\r\n"
    uploads = [upload(lab) for _ in range(50)]
    with contextlib.ExitStack() as stack:
        for number in range(COUNT):
            session = uploads[number % len(uploads)]
            words = (
                "",  # says nothing
                f"GET {blob} HTTP/1.1\r\n{host}X-Slow: ",  # never ends its head
                f"PATCH {session} HTTP/1.1\r\n{host}Content-Length: {BIG}\r\n\r\nand that is all",
                f"GET {blob} HTTP/1.1\r\n{host}\r\n",  # asks for much and reads nothing
            )[number % 4]
            connected(lab, stack, words.encode())
        began = time.monotonic()
        assert lab.call("GET", "/healthz").status == 200
        other = Name.parse(f"{lab.host}/lab/quick:1")
        put(opened.remote(other), other, Model.random(2, 300_000, 10))
        assert get(opened.remote(other), other) == Model.random(2, 300_000, 10)
        waited = time.monotonic() - began
        threads, kibibytes = status_of(lab, "Threads"), status_of(lab, "VmHWM")

    assert waited < 10, "others had to wait"
    assert threads <= THREADS
    assert kibibytes <= MEMORY * 1024
    assert lab.call("GET", "/healthz").status == 200
    assert json.loads(lab.call("GET", "/v2/lab/slow/tags/list").body)["tags"] == ["1"]
    opened.close()
