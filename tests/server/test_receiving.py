"""How blobs come in, asked over HTTP: parts, answers that were lost, bodies that do not fit."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from labs import Lab
from peers import Answer
from raw_sockets import Kept, Serve, head, status
from waiting import until

from registry.model.digests import Digest
from registry.net.listener import driver
from registry.server.principal import Right
from registry.server.service import Plan, Service
from registry.wire.messages import Accept, Response

DATA = bytes(range(250)) * 40
HALF = len(DATA) // 2
STOCK = "ollama-transfer/1.0"


def patch(lab: Lab, upload: str, first: int, data: bytes, agent: str = "x") -> Answer:
    span = f"{first}-{first + len(data) - 1}"
    return lab.call("PATCH", upload, data, Content_Range=span, User_Agent=agent)


def test_parts_one_after_another_make_the_blob(lab: Lab) -> None:
    upload = lab.begin()
    assert patch(lab, upload, 0, DATA[:HALF]).headers["range"] == f"0-{HALF - 1}"
    assert patch(lab, upload, HALF, DATA[HALF:]).status == 202
    closed = lab.call("PUT", f"{upload}?digest={Digest.of(DATA)}")
    assert closed.status == 201
    assert closed.headers["location"].endswith(f"/v2/acme/tiny/blobs/{Digest.of(DATA)}")
    assert lab.call("GET", closed.headers["location"]).body == DATA


def test_a_closing_put_whose_answer_was_lost_may_be_repeated(lab: Lab) -> None:
    upload = lab.begin()
    patch(lab, upload, 0, DATA)
    closing = f"{upload}?digest={Digest.of(DATA)}"
    assert [lab.call("PUT", closing).status for _ in range(3)] == [201, 201, 201]
    other = f"{upload}?digest={Digest.of(b'never pushed')}"
    assert lab.call("PUT", other).status == 404


def test_a_part_with_a_gap_before_it_is_416_and_says_what_is_here(lab: Lab) -> None:
    upload = lab.begin()
    patch(lab, upload, 0, DATA[:HALF])
    answer = patch(lab, upload, HALF + 1, DATA[HALF + 1 :])
    assert (answer.status, answer.headers["range"]) == (416, f"0-{HALF - 1}")


def test_a_part_that_is_here_already_is_refused_but_for_stock_which_never_asks(lab: Lab) -> None:
    upload = lab.begin()
    patch(lab, upload, 0, DATA[:HALF])
    assert patch(lab, upload, 0, DATA[: HALF - 1]).status == 416
    assert patch(lab, upload, 0, DATA[:HALF], STOCK).status == 202
    assert lab.call("GET", upload).headers["range"] == f"0-{HALF - 1}"


def test_a_part_that_begins_before_the_end_and_goes_beyond_it_rewinds(lab: Lab) -> None:
    upload = lab.begin()
    patch(lab, upload, 0, b"wrong" * 10)
    assert patch(lab, upload, 0, DATA).status == 202
    assert lab.call("PUT", f"{upload}?digest={Digest.of(DATA)}").status == 201


@pytest.mark.parametrize("span", ["0-5", "10-9", "x"])
def test_a_part_that_is_not_what_its_range_says_is_refused(lab: Lab, span: str) -> None:
    upload = lab.begin()
    answer = lab.call("PATCH", upload, b"12345", Content_Range=span)
    assert answer.status == 400
    assert lab.call("GET", upload).headers["range"] == "0-0"


def test_a_blob_comes_whole_by_one_post_and_a_push_is_told_so_where_it_begins(lab: Lab) -> None:
    uploads = "/v2/acme/tiny/blobs/uploads/"
    told = [lab.call("HEAD", "/v2/acme/new/manifests/v1"), lab.call("POST", uploads)]
    assert [each.headers.get("x-ferry-single-post") for each in told] == ["262144; empty", "262144"]
    read = lab.call("GET", "/v2/acme/new/manifests/v1")
    assert (read.status, read.headers.get("x-ferry-single-post")) == (404, None)
    wrong = lab.call("POST", f"{uploads}?digest={Digest.of(b'other bytes')}", DATA)
    posted = lab.call("POST", f"{uploads}?digest={Digest.of(DATA)}", DATA)
    assert (wrong.status, posted.status) == (400, 201)
    assert lab.call("GET", posted.headers["location"]).body == DATA
    assert "x-ferry-single-post" not in posted.headers


def test_a_post_that_breaks_off_leaves_nothing_as_nobody_can_go_on_with_it(tmp_path: Path) -> None:
    service = Service(Plan(tmp_path / "data", anonymous=Right.WRITE))
    host, _, port = service.start().removeprefix("http://").rpartition(":")
    uploads, begun = tmp_path / "data" / "uploads", service.registry.depot.begun
    path = f"/v2/acme/tiny/blobs/uploads/?digest={Digest.of(DATA)}"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {1 << 32}\r\n\r\n"
    try:
        for arrived in (0, 2 * 1024 * 1024):  # nothing, and what the catalogue knows
            with socket.create_connection((host, int(port))) as opened:
                opened.sendall(head.encode() + bytes(arrived))
                until(lambda: bool(begun) or any(uploads.glob("*")))
            until(lambda: not begun and not any(uploads.glob("*")))
    finally:
        service.stop()


def test_one_post_may_come_in_chunks(lab: Lab) -> None:
    host, chunks = lab.url.partition("://")[2], iter([DATA[:HALF], DATA[HALF:]])
    with contextlib.closing(http.client.HTTPConnection(host)) as connection:
        path = f"/v2/acme/tiny/blobs/uploads/?digest={Digest.of(DATA)}"
        connection.request(
            "POST", path, chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        assert connection.getresponse().status == 201


def test_bytes_that_are_not_the_digest_are_refused_and_not_kept(lab: Lab) -> None:
    upload = lab.begin()
    patch(lab, upload, 0, DATA)
    answer = lab.call("PUT", f"{upload}?digest={Digest.of(b'others')}")
    assert answer.status == 400
    assert b"DIGEST_INVALID" in answer.body
    assert lab.call("GET", upload).status == 404


def test_the_last_bytes_may_come_with_the_closing_put(lab: Lab) -> None:
    data = DATA + b"by the closing PUT"
    upload = lab.begin()
    patch(lab, upload, 0, data[:HALF])
    assert lab.call("PUT", f"{upload}?digest={Digest.of(data)}", data[HALF:]).status == 201


def test_another_kind_of_digest_is_hashed_at_the_end(lab: Lab) -> None:
    digest = Digest.of(DATA, "sha512")
    upload = lab.begin()
    patch(lab, upload, 0, DATA)
    assert lab.call("PUT", f"{upload}?digest={digest}").status == 201
    assert lab.call("GET", f"/v2/acme/tiny/blobs/{digest}").body == DATA


def test_an_upload_that_was_cancelled_is_gone(lab: Lab) -> None:
    upload = lab.begin()
    assert lab.call("DELETE", upload).status == 204
    assert [lab.call(method, upload).status for method in ("GET", "DELETE", "PATCH")] == [404, 404, 404]


def test_an_upload_is_its_repositorys_only(lab: Lab) -> None:
    upload = lab.begin().replace("/acme/tiny/", "/acme/other/")
    assert lab.call("PATCH", upload, b"x").status == 404


def test_what_came_while_other_bytes_were_written_is_written_though_no_more_comes(serve: Serve) -> None:
    class Slow(Kept):
        begun, may_end = threading.Event(), threading.Event()

        def write(self, data: bytes) -> None:
            self.begun.set()
            assert self.may_end.wait(20)
            super().write(data)

    slow = Slow()
    served = serve(lambda _: Accept(slow, lambda: Response(200), 1000))
    opened = served.connect(head("PATCH", "/x", "Content-Length: 500") + "first")
    assert slow.begun.wait(20)
    opened.sendall(b"second")
    time.sleep(0.05)  # it is here by then, or comes when the first is written
    slow.may_end.set()
    until(lambda: slow.data == b"firstsecond")


def noting(
    come: bytearray, next_of: Callable[[driver._Arriving], Awaitable[bytes]]
) -> Callable[[driver._Arriving], Awaitable[bytes]]:
    """What arrives of a body, noted too."""

    async def noted(arriving: driver._Arriving) -> bytes:
        data = await next_of(arriving)
        come.extend(data)
        return data

    return noted


def test_what_comes_while_others_are_written_is_written_with_what_comes_then(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_NO_MORE", 30)

    class Slow(Kept):
        may_write, pieces = threading.Event(), list[bytes]()

        def write(self, data: bytes) -> None:
            assert self.may_write.wait(20)
            self.pieces.append(data)

    slow, come = Slow(), bytearray()
    served = serve(lambda _: Accept(slow, lambda: Response(201), 10**7))
    monkeypatch.setattr(driver._Arriving, "next", noting(come, driver._Arriving.next))
    opened = served.connect(head("PATCH", "/x", "Content-Length: 9") + "one")
    until(lambda: come == b"one")
    opened.sendall(b"two")
    until(lambda: come == b"onetwo")
    slow.may_write.set()
    until(lambda: slow.pieces == [b"one"])
    opened.sendall(b"end")

    assert status(opened) == 201
    assert slow.pieces == [b"one", b"twoend"]
