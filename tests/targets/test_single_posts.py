"""A small blob goes up by a single POST where the registry says that it takes that, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_double import ORIGIN
from sample_models import Model, describe
from test_direct_served import House

from registry.errors import CorruptError, DeniedError, StorageError, TransientError
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.methods import Learned, Method, memory_methods
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response
from registry.wire.single_post import MOST_BYTES, OFFERED, OFFERED_EMPTY, SINGLE_POST, read_single_post

NAME = Name.parse("models.example/acme/tiny:1")
SMALL = describe(b"small")
OPENED = Response(202, Headers({"Location": "/v2/acme/tiny/blobs/uploads/one"}))
UPLOADS = "/v2/acme/tiny/blobs/uploads/"

Answer = Response | TransientError


class Far:
    """A registry that offers single POSTs, and answers them with `posted`; by a session it takes everything.

    `held`: what it says to a HEAD of a blob; `mounted`: to a mount; `closed`: to a closing PUT; `begun`: to
    a POST that begins a session.
    """

    def __init__(self, posted: Answer, held: int = 404, offer: tuple[str, str] = OFFERED_EMPTY) -> None:
        self.posted = posted
        self.held = held
        self.mounted = Response(202, Headers((*OPENED.headers, offer)))
        self.closed = Response(201)
        self.begun = OPENED
        self.offer = offer
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.last = Request("GET", f"{ORIGIN}/v2/")

    def __call__(self, request: Request) -> Response:
        self.last = request
        assert isinstance(request.body, bytes)
        if "/manifests/" in request.url:
            return Response(404, Headers((self.offer,)))
        single = request.method == "POST" and request.parameter("digest") is not None
        mount = request.parameter("mount") is not None
        self.asked.append("single" if single else "mount" if mount else request.method)
        if request.body:
            self.bodies.append(request.body)
        if single and isinstance(self.posted, TransientError):
            raise self.posted
        if single:
            assert isinstance(self.posted, Response)
            return self.posted
        if mount:
            return self.mounted
        return {"HEAD": Response(self.held), "POST": self.begun, "PUT": self.closed}[request.method]


def remote(far: Far) -> Remote:
    """That registry, once it was asked what stands under the name."""
    target = Remote(Peer(far, ORIGIN, now=lambda: 0.0))
    target.current(NAME)
    return target


def send(target: Remote, data: bytes = b"small", resumed: int = 0) -> None:
    """Push a blob, as the engine does; `resumed`: how often it may look what arrived, and go on."""
    blob = describe(data)
    intake = target.receive(NAME, blob, None)
    if intake is None:
        return
    for left in range(resumed, -1, -1):
        try:
            for gap in intake.received.missing(blob.size):
                intake.write(gap, [data])
            intake.commit()
            return
        except TransientError:
            if not left:
                raise
            intake.resume()


TAKEN = Response(201, Headers({"Docker-Content-Digest": str(SMALL.digest)}))


def test_a_small_blob_is_one_request() -> None:
    far = Far(TAKEN)

    send(remote(far))

    assert (far.asked, far.bodies) == (["single"], [b"small"])
    post = far.last
    assert (post.path, post.query) == (UPLOADS, [("digest", str(SMALL.digest))])
    assert post.headers.get("Content-Type") == "application/octet-stream"
    assert (post.access and post.access.actions) == ("pull", "push")


@pytest.mark.parametrize("value", ["0", "4; empty", "", "-9", "1e9", "x", "262144;empty", "9" * 5000])
def test_who_offers_less_or_nothing_that_can_be_read_is_asked_first(value: str) -> None:
    far = Far(TAKEN, offer=(SINGLE_POST, value))

    send(remote(far))

    assert far.asked == ["mount", "PUT"]


def test_nobody_is_believed_to_take_more_than_a_small_blob() -> None:
    assert read_single_post("999999999") == (MOST_BYTES, False)
    far = Far(TAKEN, offer=(SINGLE_POST, "999999999; empty"))

    remote(far).receive(NAME, describe(bytes(MOST_BYTES + 1)), None)

    assert "single" not in far.asked


def test_of_a_repository_that_is_not_empty_blobs_are_asked_for_until_several_were_missing() -> None:
    far = Far(TAKEN, offer=OFFERED)
    target = remote(far)

    for _ in range(37):
        send(target)
    assert far.asked == [*["mount", "PUT"] * 4, *["single"] * 31, "mount", "PUT", "single"]

    far.asked.clear()
    far.mounted = Response(201)
    for _ in range(35):
        send(target)
    assert far.asked == [*["single"] * 30, *["mount"] * 5]


def test_of_an_empty_one_too_every_32nd_blob_is_asked_for() -> None:
    far = Far(TAKEN)
    far.mounted = Response(201)
    target = remote(far)

    for _ in range(35):
        send(target)

    assert far.asked == [*["single"] * 31, *["mount"] * 4]


def test_what_is_known_of_one_repository_says_nothing_of_another() -> None:
    far = Far(TAKEN)
    target = remote(far)
    far.offer = OFFERED
    other = Name.parse("models.example/acme/other:1")
    assert target.current(other) is None

    target.receive(other, SMALL, None)
    send(target)

    assert far.asked == ["mount", "single"]


def test_a_push_that_asked_for_no_name_hears_it_with_the_first_upload() -> None:
    far = Far(TAKEN)
    target = Remote(Peer(far, ORIGIN))

    for _ in range(5):
        send(target)

    assert far.asked == [*["mount", "PUT"] * 4, "single"]


@pytest.mark.parametrize(
    "posted",
    [
        OPENED,
        *map(Response, (400, 401, 403, 404, 405, 411, 413, 415, 422, 501)),
        Response(201, Headers({"Docker-Content-Digest": str(describe(b"another").digest)})),
    ],
    ids=lambda answer: str(answer.status),
)
def test_who_does_not_do_it_gets_a_session_and_is_asked_first_from_then_on(
    posted: Response,
) -> None:
    far = Far(posted)
    target = remote(far)

    send(target)
    target.current(NAME)  # offers it once more
    send(target)

    begun = [] if posted.status == 202 else ["POST"]
    assert far.asked == ["single", *begun, "PUT", "mount", "PUT"]
    assert far.bodies == [b"small"] * 3


def test_a_post_that_broke_off_is_asked_for_and_may_have_arrived() -> None:
    far = Far(TransientError("the line broke"), held=200)

    send(remote(far), resumed=1)

    assert far.asked == ["single", "HEAD"]


@pytest.mark.parametrize("posted", [TransientError("the line broke"), Response(503), Response(429)])
def test_a_post_that_broke_off_before_is_sent_again_by_a_session(posted: Answer) -> None:
    far = Far(posted)
    target = remote(far)

    send(target, resumed=1)

    assert far.asked == ["single", "HEAD", "POST", "PUT"]
    far.posted = TAKEN
    send(target)
    assert far.asked[4:] == ["single"]  # that was chance


@pytest.mark.parametrize("posted", [TransientError("it fell silent"), Response(503), Response(429)])
def test_posts_that_break_off_one_after_another_are_given_up(posted: Answer) -> None:
    """A firewall that lets each of them hang costs three silences, not one for each blob of a mirror."""
    far = Far(posted)
    target = remote(far)
    for _ in range(2):
        send(target, resumed=1)
    far.posted = TAKEN
    send(target)
    far.posted = posted
    for _ in range(3):
        send(target, resumed=1)
    assert far.asked.count("single") == 6
    far.asked.clear()

    target.current(NAME)
    send(target)

    assert far.asked == ["mount", "PUT"]


def test_posts_whose_blobs_arrived_all_the_same_are_not_given_up() -> None:
    far = Far(TransientError("the answer is lost"), held=200)
    target = remote(far)

    for _ in range(4):
        send(target, resumed=1)

    assert far.asked == ["single", "HEAD"] * 4


def test_a_source_that_broke_costs_no_question_and_says_nothing_of_posts() -> None:
    far = Far(TAKEN)
    target = remote(far)
    for _ in range(3):
        intake = target.receive(NAME, SMALL, None)
        assert intake is not None
        with pytest.raises(TransientError):
            intake.write(Span(0, 5), _broken())
        intake.resume()
        intake.write(Span(0, 5), [b"small"])
        intake.commit()

    assert far.asked == ["POST", "PUT"] * 3
    send(target)
    assert far.asked[6:] == ["single"]


def _broken() -> Iterator[bytes]:
    yield b"sm"
    raise TransientError("the source broke")


def test_a_registry_without_space_is_asked_no_second_time() -> None:
    far = Far(Response(507))

    with pytest.raises(StorageError):
        send(remote(far))

    assert far.asked == ["single"]


def test_who_may_not_write_hears_what_the_session_is_told() -> None:
    far = Far(Response(403))
    far.begun = Response(403)

    with pytest.raises(DeniedError):
        send(remote(far))

    assert far.asked == ["single", "POST"]


def test_bytes_that_are_not_the_digests_are_told_as_everywhere() -> None:
    wrong = Response(400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}')
    far = Far(wrong)
    far.closed = wrong

    with pytest.raises(CorruptError):
        send(remote(far))


def test_a_blob_that_is_near_or_is_not_believed_keeps_its_way() -> None:
    far = Far(TAKEN)
    target = remote(far)

    target.receive(NAME, SMALL, Name.parse("models.example/acme/other:1"))
    target.receive(NAME, SMALL, Name.parse("models.example/acme/tiny:before"))
    target.refused.blobs.add((NAME.repository, SMALL.digest))
    target.receive(NAME, SMALL, None)

    assert far.asked == ["HEAD", "mount", "mount", "POST"]


def test_a_registry_that_is_known_to_want_the_bytes_another_way_gets_them_so() -> None:
    methods = memory_methods()
    methods.put(f"{ORIGIN} small", Learned(Method.CHUNKS, MOST_BYTES, 0.0))
    far = Far(TAKEN)
    target = Remote(Peer(far, ORIGIN, now=lambda: 0.0), methods=methods)
    target.current(NAME)

    target.receive(NAME, SMALL, None)

    assert far.asked == ["mount"]


def test_the_embedded_registry_is_pushed_to_with_one_request_a_small_blob(tmp_path: Path) -> None:
    """With an account: what it takes is said before the first blob, to the token that asks for the name."""
    house = House(tmp_path)
    try:
        house.push(Model.random(1, 700, 1000, MOST_BYTES))
        asked = [(each.method, each.route, each.status) for each in house.served if "blob" in each.path]
    finally:
        house.close()
    assert asked == [("POST", "uploads", 201)] * 4, house.served
