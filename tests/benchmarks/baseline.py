"""The least a Python program can do to pull or push one blob: what the engine's worth is measured against.

`baseline.py pull URL DIGEST FILE` reads, hashes and writes in one thread with requests; `baseline.py push URL
DIGEST FILE` sends the file in one PUT. `baseline.py loop URL DIGEST FILE` is the bare loop: `recv_into` from
one socket, TLS or not, a hash in a thread beside it, and a write. `baseline.py send URL DIGEST FILE` is the
bare loop of a push: the file by `sendfile`, or over TLS read into one buffer and encrypted from it.
`baseline.py pull-many REPOSITORY-URL DIGESTS DIRECTORY` and `push-many` move the blobs that the file DIGESTS
lists with requests, from 16 threads. No resuming, no retries, no ranges, no sync. The certificates of
`$SSL_CERT_FILE` are trusted.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urljoin, urlsplit

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 20
PIECE = 1 << 18
THREADS = 16  # as many as Ferry takes for many blobs


def pull(url: str, digest: str, path: Path) -> None:
    seen = hashlib.sha256()
    with opened().get(url, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        with path.open("wb") as file:
            while chunk := answer.raw.read(CHUNK):
                seen.update(chunk)
                file.write(chunk)
    if "sha256:" + seen.hexdigest() != digest:
        sys.exit("the bytes are not the digest's")


def connected(parts: SplitResult) -> socket.socket:
    connection: socket.socket = socket.create_connection((parts.hostname or "", parts.port or 443))
    if parts.scheme == "https":
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
    return connection


def loop(url: str, digest: str, path: Path) -> None:
    parts = urlsplit(url)
    connection = connected(parts)
    connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    held = b""
    while b"\r\n\r\n" not in held:
        held += connection.recv(PIECE)
    head, _, held = held.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if b" 200 " not in head[:16] or not found:
        sys.exit(head.decode("latin-1"))
    left = int(found[1]) - len(held)
    with path.open("wb", buffering=0) as file, Hasher() as hasher:
        if held:
            hasher.pieces.put(held)
            file.write(held)
        while left:
            view, filled = memoryview(bytearray(min(PIECE, left))), 0
            while filled < len(view):
                count = connection.recv_into(view[filled:])
                if not count:
                    sys.exit("it ended early")
                filled += count
            hasher.pieces.put(view)
            file.write(view)
            left -= filled
    if "sha256:" + hasher.seen.hexdigest() != digest:
        sys.exit("the bytes are not the digest's")


class Hasher:
    """Hashes what is put into `pieces`, in a thread, until it is left."""

    def __init__(self) -> None:
        self.seen = hashlib.sha256()
        self.pieces: queue.Queue[bytes | memoryview] = queue.Queue(4)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pieces.put(b"")
        self._thread.join()

    def _run(self) -> None:
        while True:
            piece = self.pieces.get()
            self.seen.update(piece)
            if not piece:
                return


def begun(session: requests.Session, url: str, digest: str) -> str:
    """Where the whole blob is put."""
    began = session.post(url)
    began.raise_for_status()
    location = urljoin(url, began.headers["Location"])
    return location + ("&" if "?" in location else "?") + f"digest={digest}"


def send(url: str, digest: str, path: Path) -> None:
    location = begun(opened(), url, digest)
    parts, size = urlsplit(location), path.stat().st_size
    target = location.removeprefix(f"{parts.scheme}://{parts.netloc}")
    connection = connected(parts)
    connection.sendall(
        f"PUT {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    with path.open("rb", buffering=0) as file:
        if parts.scheme == "http":
            connection.sendfile(file)
        else:
            buffer = memoryview(bytearray(PIECE))
            while count := file.readinto(buffer):
                connection.sendall(buffer[:count])
    answer = connection.recv(PIECE)
    if not answer.startswith(b"HTTP/1.1 201 "):
        sys.exit(answer.decode("latin-1"))


def push(url: str, digest: str, path: Path) -> None:
    session = opened()
    location = begun(session, url, digest)
    with path.open("rb") as file:
        session.put(
            location, data=file, headers={"Content-Type": "application/octet-stream"}
        ).raise_for_status()


def pull_one(session: requests.Session, url: str, digest: str, directory: Path) -> None:
    answer = session.get(f"{url}/blobs/{digest}", headers={"Accept-Encoding": "identity"})
    answer.raise_for_status()
    if "sha256:" + hashlib.sha256(answer.content).hexdigest() != digest:
        sys.exit("the bytes are not the digest's")
    (directory / digest.removeprefix("sha256:")).write_bytes(answer.content)


def push_one(session: requests.Session, url: str, digest: str, directory: Path) -> None:
    location = begun(session, f"{url}/blobs/uploads/", digest)
    data = (directory / digest.removeprefix("sha256:")).read_bytes()
    session.put(location, data=data, headers={"Content-Type": "application/octet-stream"}).raise_for_status()


def many(one: Callable[[requests.Session, str, str, Path], None], url: str, listed: Path, to: Path) -> None:
    """Each of the listed digests, from threads with a session each."""
    from concurrent.futures import ThreadPoolExecutor  # here: one blob needs none

    own = threading.local()

    def work(digest: str) -> None:
        if not hasattr(own, "session"):
            own.session = opened()
        one(own.session, url, digest, to)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, listed.read_text().split()):
            pass


def opened() -> requests.Session:
    import requests  # here: the bare loop of a pull does not pay for it

    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("SSL_CERT_FILE", True)
    return session


def main() -> None:
    verb, url, what, path = sys.argv[1:]
    if verb.endswith("-many"):
        many(pull_one if verb == "pull-many" else push_one, url, Path(what), Path(path))
    else:
        {"pull": pull, "loop": loop, "push": push, "send": send}[verb](url, what, Path(path))


if __name__ == "__main__":
    main()
