"""TLS over a socket that is read in large pieces: records of any size, every way to end, and time limits."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from network_kit import PATIENT, Certificate

from registry.net.sockets import Sockets
from registry.net.tls import ONE_OF_MANY, RECEIVE_BYTES, TlsSocket, tls_context

RECORDS = 48


class Server:
    """The other end; what it says is encrypted in memory, so that a test may send parts of it."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self.plain = plain
        self.plain.settimeout(PATIENT)
        self.heard, self._said = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.heard, self._said, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.plain.sendall(self._said.read())
                self.heard.write(self.plain.recv(65536))
            else:
                self.plain.sendall(self._said.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        """One record, with what TLS had to say before."""
        self.tls.write(data)
        return self._said.read()

    def goodbye(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._said.read()


@contextlib.contextmanager
def talk(certificate: Certificate) -> Iterator[tuple[TlsSocket, Server]]:
    """A client that has shaken hands with its server."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Server(theirs, certificate.server)
        thread = threading.Thread(target=server.shake_hands)
        thread.start()
        ours.settimeout(PATIENT)
        context = tls_context(Sockets(), ca=certificate.pem)
        with context.wrap_socket(ours, server_hostname="models.example") as client:
            thread.join()
            yield client, server


def read(client: TlsSocket, length: int) -> bytes:
    buffer, filled = memoryview(bytearray(length)), 0
    while filled < length and (count := client.recv_into(buffer[filled:])):
        filled += count
    return bytes(buffer[:filled])


def test_many_records_cost_one_call(certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        records = [bytes([number]) * 1000 for number in range(RECORDS)]
        server.plain.sendall(b"".join(server.encrypted(record) for record in records))
        buffer = memoryview(bytearray(100_000))

        count = client.recv_into(buffer)

        assert buffer[:count] == b"".join(records)


def test_the_memory_of_many_connections_is_not_that_of_many_fast_ones() -> None:
    context, pairs = tls_context(Sockets()), [socket.socketpair() for _ in range(16)]
    tracemalloc.start()
    try:
        made = []
        for ours, _ in pairs:
            made.append(TlsSocket(ours, context, "models.example"))
            context.sockets.watch(made[-1])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        for end in (*made, *(theirs for _, theirs in pairs)):
            end.close()
    assert held < 2 * RECEIVE_BYTES + 16 * 1.5 * ONE_OF_MANY


@pytest.mark.parametrize("length", [1, 999, 16_384, 16_385, 500_000])
def test_every_byte_arrives_whatever_is_asked_for_at_once(length: int, certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        said = bytes(range(256)) * 2048
        records = [server.encrypted(said[at : at + 5000]) for at in range(0, len(said), 5000)]
        thread = threading.Thread(target=server.plain.sendall, args=(b"".join(records),))
        thread.start()
        heard = bytearray()
        while len(heard) < len(said):
            heard += client.recv(length if len(heard) > len(said) - 20_000 else 40_000)
        thread.join()

        assert heard == said


def test_the_time_limit_is_for_a_record_and_not_for_each_byte_of_it(certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        record = server.encrypted(bytes(16_000))
        over = threading.Event()

        def trickle() -> None:
            for at in range(len(record)):
                server.plain.sendall(record[at : at + 1])
                if over.wait(0.02):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        client.settimeout(0.2)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.recv(1)
        over.set()
        thread.join()

        assert time.monotonic() - began < PATIENT  # 320 s, if each byte had a time limit of its own


@pytest.mark.parametrize("ending", ["announced", "cut off", "cut off within a record"])
def test_the_end_is_no_bytes_again_and_again(ending: str, certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        said = server.encrypted(b"the last words")
        if ending == "announced":
            said += server.goodbye()
        elif ending == "cut off within a record":
            said += server.encrypted(b"half")[:10]
        server.plain.sendall(said)
        server.plain.shutdown(socket.SHUT_WR)

        assert [read(client, 14), client.recv(9), client.recv(9)] == [b"the last words", b"", b""]


def test_what_came_before_a_damaged_record_is_given_out_first(certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        damaged = bytearray(server.encrypted(b"good") + server.encrypted(b"bad"))
        damaged[-1] ^= 1
        server.plain.sendall(damaged)

        assert client.recv(100) == b"good"
        with pytest.raises(ssl.SSLError):
            client.recv(100)


def test_a_connection_whose_peer_said_more_takes_no_further_request(certificate: Certificate) -> None:
    for more in ("nothing", "bytes", "goodbye"):
        with talk(certificate) as (client, server):
            said = server.encrypted(b"answer")  # with the session tickets that no reader sees
            if more != "nothing":
                said += server.encrypted(b"!") if more == "bytes" else server.goodbye()
            server.plain.sendall(said)

            assert read(client, 6) == b"answer"
            assert client.heard_more() == (more != "nothing"), more


def test_a_peer_that_is_not_trusted_is_told_so(certificate: Certificate) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Server(theirs, certificate.server)
        said: list[str] = []

        def shake_hands() -> None:
            try:
                server.shake_hands()
                server.heard.write(server.plain.recv(65536))
                server.tls.read(1)
            except ssl.SSLError as error:
                said.append(error.reason)

        thread = threading.Thread(target=shake_hands)
        thread.start()
        ours.settimeout(PATIENT)
        with pytest.raises(ssl.SSLCertVerificationError):
            tls_context(Sockets()).wrap_socket(ours, server_hostname="models.example")
        thread.join()

        assert said == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_what_a_full_line_does_not_take_is_sent_later_and_once(certificate: Certificate) -> None:
    with talk(certificate) as (client, server):
        data = bytes(range(256)) * 8192
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.send(data)
        heard = bytearray()

        def listen() -> None:
            while len(heard) < len(data):
                server.heard.write(server.plain.recv(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    while more := server.tls.read(65536):
                        heard.extend(more)

        thread = threading.Thread(target=listen)
        thread.start()
        client.settimeout(PATIENT)

        assert client.send(data) == len(data)
        thread.join()
        assert bytes(heard) == data
