"""Asks for every name in a file once at each host, and nothing else: `heads.py THREADS FILE HOST…`.

What any client needs at least to see that so many tags are unchanged. Bare sockets, kept open; over TLS where
$SSL_CERT_FILE says whose certificates hold.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    count, file, *hosts = sys.argv[1:]
    names = [line.rpartition(":") for line in Path(file).read_text().split()]
    asks = iter([(host, repository, tag) for repository, _, tag in names for host in hosts])
    lock, failed = threading.Lock(), threading.Event()

    def ask_all() -> None:
        try:
            ask(iter(lambda: take(asks, lock), None), hosts)
        except BaseException:
            failed.set()
            raise

    threads = [threading.Thread(target=ask_all) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(failed.is_set())


def take(asks: Iterator[tuple[str, str, str]], lock: threading.Lock) -> tuple[str, str, str] | None:
    with lock:
        return next(asks, None)


def ask(asks: Iterator[tuple[str, str, str]], hosts: list[str]) -> None:
    """Each on this thread's connection to its host."""
    kept = {host: connected(host) for host in hosts}
    for host, repository, tag in asks:
        accept = (
            "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        )
        lines = (
            f"HEAD /v2/{repository}/manifests/{tag} HTTP/1.1",
            f"Host: {host}",
            f"Accept: {accept}",
            "",
            "",
        )
        kept[host].sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = kept[host].recv(65536)
            if not more:
                raise ConnectionError(f"{host} hung up")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ValueError(answer[:100].decode())


def connected(host: str) -> socket.socket:
    name, _, port = host.rpartition(":")
    connection = socket.create_connection((name, int(port)))
    if authority := os.environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=authority).wrap_socket(connection, server_hostname=name)
    return connection


if __name__ == "__main__":
    main()
