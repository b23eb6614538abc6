"""How answers go out, over real sockets: plain and encrypted, to peers that read and to those that do not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from certificates import write_certificate
from raw_sockets import Serve, head, rest, status
from waiting import until

from registry.model.spans import FileSpan
from registry.net.listener.address import tls_from
from registry.wire.messages import Response


def test_a_peer_that_takes_nothing_is_let_go_and_what_it_took_is_counted(
    serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"\0" * 50_000_000)
    served = serve(lambda _: Response(200, body=FileSpan(file, 0, 50_000_000)), send=0.2)
    served.connect(head("GET", "/x"), receive=4096)
    record = served.record()
    assert (record.status, record.whole) == (200, False)
    assert 0 < record.sent < 50_000_000


def test_an_answer_that_the_peer_broke_off_counts_what_went_out(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"\0" * 50_000_000)
    served = serve(lambda _: Response(200, body=FileSpan(file, 0, 50_000_000)))
    opened = served.connect(head("GET", "/x"))
    taken = 0
    while taken < 5_000_000:
        taken += len(opened.recv(1_000_000))
    opened.close()
    record = served.record()
    assert not record.whole
    assert 4_000_000 < record.sent < 50_000_000


def test_answers_in_memory_that_nobody_reads_are_bounded(serve: Serve) -> None:
    body = b"\0" * 4_000_000
    served = serve(
        lambda request: Response(200, body=body if request.path == "/x" else b""),
        memory=20_000_000,
        stalled=1000,
    )
    for _ in range(20):
        served.connect(head("GET", "/x"), receive=4096)
    until(lambda: bool(served.records))  # the first one that there was no room for
    assert served.record().status == 503
    assert served.listener.connections.held <= 20_000_000
    assert status(served.connect(head("GET", "/small"))) == 200


@pytest.mark.parametrize("wanted", [6, 16 * 1024, 16 * 1024 + 1, 6_000_000])
def test_a_file_that_is_shorter_than_it_was_is_said_before_the_head_goes_out(
    serve: Serve, tmp_path: Path, wanted: int
) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"x" * (wanted - 1))
    served = serve(lambda request: Response(200, body=FileSpan(tmp_path / request.path[1:], 0, wanted)))
    assert status(served.connect(head("GET", "/blob"))) == 503
    assert status(served.connect(head("GET", "/gone"))) == 404
    assert status(served.connect(head("HEAD", "/gone"))) == 200, "for a HEAD nothing is read"


@pytest.mark.parametrize("length", [0, 1, 4097, 16 * 1024, 16 * 1024 + 1])
def test_a_part_of_a_file_goes_out_whether_it_is_read_or_sent_from_the_disk(
    serve: Serve, tmp_path: Path, length: int
) -> None:
    file, data = tmp_path / "blob", bytes(range(251)) * 100
    file.write_bytes(data)
    served = serve(lambda _: Response(200, body=FileSpan(file, 5, length)))
    opened = served.connect(head("GET", "/x") + head("HEAD", "/x", "Connection: close"))
    first, _, rest_of = rest(opened).partition(b"\r\n\r\n")
    assert f"content-length: {length}\r\n".encode() in first.lower() + b"\r\n"
    assert rest_of[:length] == data[5 : 5 + length]
    assert rest_of[length:].startswith(b"HTTP/1.1 200") and rest_of.endswith(b"\r\n\r\n")
    assert [served.record(each).sent for each in range(2)] == [length, 0]


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    write_certificate(tmp_path)
    return tls_from(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_a_file_goes_out_encrypted_whole_or_a_part_of_it(
    serve: Serve, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    file, data = tmp_path / "blob", bytes(range(251)) * 20_000
    file.write_bytes(data)
    served = serve(lambda _: Response(200, body=FileSpan(file, 7, len(data) - 9)), tls)
    opened = served.connect(head("GET", "/x", "Connection: close"))
    assert rest(opened).partition(b"\r\n\r\n")[2] == data[7:-2]
    assert (served.record().sent, served.record().whole) == (len(data) - 9, True)


def test_encrypted_answers_that_nobody_reads_are_bounded_and_others_go_on(
    serve: Serve, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"\0" * 20_000_000)
    limit = 2_000_000
    served = serve(lambda _: Response(200, body=FileSpan(file, 0, 20_000_000)), tls, memory=limit)
    for _ in range(40):
        served.connect(head("GET", "/x"), receive=4096)
    until(lambda: served.listener.connections.waiting() == 40)
    assert served.listener.connections.held <= limit
    opened = served.connect(head("GET", "/x", "Connection: close"))
    assert len(rest(opened)) > 20_000_000


def test_a_file_that_became_shorter_meanwhile_ends_the_answer(
    serve: Serve, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"\0" * 50_000_000)
    served = serve(lambda _: Response(200, body=FileSpan(file, 0, 50_000_000)), tls)
    opened = served.connect(head("GET", "/x"), receive=4096)
    assert status(opened) == 200
    os.truncate(file, 1000)
    assert len(rest(opened)) < 50_000_000
    assert not served.record().whole
