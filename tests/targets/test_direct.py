"""Blobs that go past the registry to its storage: every answer on record is met, and no secret goes along.

One row a case. What happens on the way, and that client and embedded registry speak the same, is beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from far_storage import BLOB, DATA, NAME, ORIGIN, SIZE, URL, Far, Fields, offering, push, remote
from sample_models import chunked, describe

from registry.contracts import How
from registry.errors import DeniedError, ProtocolError, RegistryError, TransientError
from registry.model.spans import Span
from registry.targets.direct import MOST_PUTS, Direct, DirectIntake
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.upload import UploadIntake
from registry.wire import faults
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response


def answer(status: int, **headers: str) -> Response:
    return Response(status, Headers({key.replace("_", "-"): value for key, value in headers.items()}))


# --- what storage answers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    """How a push ends: by storage or by the session, after so many PUTs to storage."""

    by: str
    puts: int


STORAGE: dict[str, tuple[list[Response | int], Ends]] = {
    "200": ([answer(200)], Ends("storage", 1)),
    "201, as Azure says it": ([answer(201)], Ends("storage", 1)),
    "204": ([answer(204)], Ends("storage", 1)),
    "an ETag of something else": ([answer(200, ETag='"0000-16"')], Ends("storage", 1)),
    "an ETag that is none": ([answer(200, ETag="\xff" * 9000)], Ends("storage", 1)),
    "a digest of something else": ([answer(200, Docker_Content_Digest="sha256:no")], Ends("storage", 1)),
    "403, a URL that expired": ([answer(403), answer(200)], Ends("storage", 2)),
    "401": ([answer(401, WWW_Authenticate="Basic realm=x"), answer(200)], Ends("storage", 2)),
    "403 always": ([answer(403)], Ends("session", 2)),
    "500 once": ([answer(500), answer(200)], Ends("storage", 2)),
    "500 always": ([answer(500)], Ends("session", 2)),
    "501": ([answer(501)], Ends("session", 1)),
    "503 and a wait": ([answer(503, Retry_After="7"), answer(200)], Ends("storage", 2)),
    "503 and a wait of a century": ([answer(503, Retry_After="3155760000"), answer(200)], Ends("session", 1)),
    "503 and a wait of 5,000 digits": (
        [answer(503, Retry_After="9" * 5000), answer(200)],
        Ends("storage", 2),
    ),
    "429": ([answer(429), answer(200)], Ends("storage", 2)),
    "408": ([answer(408), answer(200)], Ends("storage", 2)),
    "400, a signature that does not hold": ([answer(400)], Ends("session", 1)),
    "404, no such bucket": ([answer(404)], Ends("session", 1)),
    "405": ([answer(405)], Ends("session", 1)),
    "411": ([answer(411)], Ends("session", 1)),
    "413, more than one PUT may bring": ([answer(413)], Ends("session", 1)),
    "301": ([answer(301, Location="https://other.example/x")], Ends("session", 1)),
    "302": ([answer(302, Location="https://other.example/x")], Ends("session", 1)),
    "307 to another region": ([answer(307, Location="https://other.example/x")], Ends("session", 1)),
    "308": ([answer(308, Location=URL)], Ends("session", 1)),
    "206": ([answer(206, Range="0-10")], Ends("session", 1)),
    "the line breaks once": ([100_000, answer(200)], Ends("storage", 2)),
    "the line breaks always": ([100_000], Ends("session", 2)),
}


@pytest.mark.parametrize("case", STORAGE)
def test_whatever_storage_answers_the_model_arrives(case: str) -> None:
    storing, ends = STORAGE[case]
    far = Far(storing=list(storing))
    pauses: list[float] = []

    report = push(far, pauses)

    assert [blob.how for blob in report.blobs if blob.blob == BLOB] == [How.UPLOADED]
    assert (len(far.stored), far.patched) == (ends.puts, SIZE if ends.by == "session" else 0)
    assert ends.puts <= MOST_PUTS
    assert max(pauses, default=0.0) <= faults.LONGEST_PAUSE


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("600", faults.LONGEST_PAUSE),
        ("3155760000", None),
        ("9" * 5000, None),
        ("soon", None),
        ("", None),
    ],
)
def test_storage_may_ask_for_a_pause_within_reason(said: str, seconds: float | None) -> None:
    intake = remote(Far(storing=[answer(503, Retry_After=said)])).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)

    with pytest.raises(TransientError) as caught:
        intake.write(Span(0, SIZE), chunked(DATA))

    assert caught.value.retry_after == seconds
    assert caught.value.answered


def test_the_ordinary_way_after_storage_keeps_to_its_own_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.targets.method_choice.MOST_CHUNK", 100_000)
    far = Far(storing=[answer(413)])

    push(far)

    parts = [request.length for request in far.asked if request.method == "PATCH"]
    assert parts == [100_000, 100_000, 100_000, 7200]


def test_each_put_goes_to_a_url_of_its_own() -> None:
    second = "https://bucket.storage.example/second?sig=2"
    far = Far(offers=[offering(), offering(second)], storing=[answer(403), answer(200)])

    push(far)

    assert [request.url for request in far.stored] == [URL, second]


def test_storage_that_keeps_something_else_is_found_out_by_the_registry() -> None:
    far = Far(keeps=False)

    push(far)

    assert (len(far.stored), far.patched) == (1, SIZE)


# --- what the request to storage is ---------------------------------------------------------------------


def test_the_put_is_the_url_byte_for_byte_with_its_signed_headers_and_nothing_else() -> None:
    signed = [("X-Signed-Header-X-Amz-Meta-A", "v 1/é"), ("x-signed-header-content-type", "a/b")]
    same = [("X-Signed-Header-Host", "Bucket.storage.example"), ("X-Signed-Header-Content-Length", str(SIZE))]
    far = Far(offers=[offering(URL, *signed, *same)])

    push(far)

    [request] = far.stored
    assert (request.method, request.url, request.length) == ("PUT", URL, SIZE)
    assert list(request.headers) == [("X-Amz-Meta-A", "v 1/é"), ("content-type", "a/b")]


def test_the_asking_post_says_what_the_extension_wants() -> None:
    far = Far()

    push(far)

    post = next(request for request in far.asked if request.method == "POST")
    digest = str(BLOB.digest).replace(":", "%3A")
    assert post.url == f"https://models.example/v2/acme/tiny/blobs/uploads/?digest={digest}"
    assert post.headers.get("X-Redirect-Uploads") == "2"
    assert post.headers.get("X-Content-Length") == str(SIZE)
    assert (post.body, post.length) == (b"", 0)


def test_the_closing_put_has_no_body_and_names_the_digest() -> None:
    far = Far()

    push(far)

    close = next(each for each in far.asked if each.method == "PUT" and "uploads" in each.path)
    assert (close.body, close.parameter("digest")) == (b"", str(BLOB.digest))


def test_an_offer_does_not_show_its_permission() -> None:
    far = Far(storing=[answer(400)], offers=[offering(URL, ("X-Signed-Header-X-Key", "secret-value"))])
    intake = remote(far).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)

    with pytest.raises(TransientError) as caught:
        intake.write(Span(0, SIZE), chunked(DATA))

    assert "X-Sig" not in str(caught.value) + caught.value.hint + repr(intake._offer)
    assert "secret-value" not in repr(intake._offer)


# --- what the registry offers ---------------------------------------------------------------------------

MANY: Fields = [(f"X-Signed-Header-X-{number}", "v") for number in range(33)]

BAD_OFFERS: dict[str, Fields] = {
    "plain HTTP": offering("http://bucket.storage.example/x"),
    "this machine": offering("https://127.0.0.1/x"),
    "this machine by name": offering("https://localhost:8443/x"),
    "this machine in another spelling": offering("https://0x7f000001/x"),
    "this machine over IPv6": offering("https://[::1]/x"),
    "this machine as IPv6": offering("https://[::ffff:127.0.0.1]/x"),
    "the network": offering("https://10.0.0.7/x"),
    "the cloud's own data": offering("https://169.254.169.254/latest"),
    "a password": offering("https://user:secret@bucket.storage.example/x"),
    "another scheme": offering("file:///etc/passwd"),
    "a path only": offering("/v2/acme/tiny/blobs/uploads/1"),
    "no scheme": offering("//bucket.storage.example/x"),
    "nothing": offering(""),
    "a space": offering("https://bucket.storage.example/a b"),
    "a port that is none": offering("https://bucket.storage.example:99999/x"),
    "17 KiB": offering("https://bucket.storage.example/" + "x" * 17 * 1024),
    "letters that are not ASCII": offering("https://bücket.example/x"),
    "two URLs": [*offering(), *offering("https://other.storage.example/x")],
    "Authorization": offering(URL, ("X-Signed-Header-Authorization", "Bearer x")),
    "a cookie": offering(URL, ("x-signed-header-cookie", "a=b")),
    "another framing": offering(URL, ("X-Signed-Header-Transfer-Encoding", "chunked")),
    "another length": offering(URL, ("X-Signed-Header-Content-Length", str(SIZE + 1))),
    "a length of 5,000 digits": offering(URL, ("X-Signed-Header-Content-Length", "9" * 5000)),
    "another host": offering(URL, ("X-Signed-Header-Host", "evil.example")),
    "an upgrade": offering(URL, ("X-Signed-Header-Upgrade", "websocket")),
    "a header without a name": offering(URL, ("X-Signed-Header-", "x")),
    "33 headers": offering(URL, *MANY),
    "a header of 17 KiB": offering(URL, ("X-Signed-Header-X", "x" * 17 * 1024)),
}


@pytest.mark.parametrize("case", BAD_OFFERS)
def test_an_offer_that_may_not_be_taken_is_refused_before_a_byte_moves(case: str) -> None:
    far = Far(offers=[BAD_OFFERS[case]])

    with pytest.raises(ProtocolError) as caught:
        push(far)

    assert (far.stored, far.patched) == ([], 0)
    assert "models.example" in caught.value.message
    assert "secret" not in caught.value.message
    assert len(str(caught.value)) < 1000


def test_an_offer_that_may_not_be_taken_is_refused_every_time() -> None:
    far = Far(offers=[offering("https://127.0.0.1/x")])
    door = remote(far)

    for _ in range(2):
        with pytest.raises(ProtocolError):
            door.receive(NAME, BLOB, None)


def test_a_second_offer_is_looked_at_like_the_first() -> None:
    far = Far(offers=[offering(), offering("https://127.0.0.1/x")], storing=[answer(403), answer(200)])

    with pytest.raises(ProtocolError):
        push(far)

    assert len(far.stored) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/x", "http://storage.example/x"])
def test_a_registry_on_this_machine_may_have_its_storage_anywhere(url: str) -> None:
    far = Far(offers=[offering(url)])
    peer = Peer(far.registry, type(ORIGIN)("http", "127.0.0.1", 5050))

    intake = Remote(peer, direct=Direct(far.storage)).receive(NAME, BLOB, None)

    assert isinstance(intake, DirectIntake)


# --- a registry that offers nothing ---------------------------------------------------------------------

ASKED: dict[str, tuple[Fields | Response, type[RegistryError] | None, int]] = {
    # answer to the asking POST, what the push ends with, how many of two blobs are asked for
    "an ordinary session": ([], None, 2),
    "signed headers without a URL": ([("X-Signed-Header-A", "b")], None, 2),
    "400, a blob of no bytes is another": (faults.fault("DIGEST_INVALID", "empty"), None, 1),
    "404": (answer(404), None, 1),
    "405": (answer(405), None, 1),
    "411": (answer(411), None, 1),
    "415, as zot says it": (answer(415), None, 1),
    "416": (answer(416), None, 1),
    "200": (answer(200), None, 1),
    "307": (answer(307, Location="/v2/acme/tiny/blobs/uploads/1"), None, 1),
    "500": (answer(500), None, 2),
    "503": (answer(503), None, 2),
    "201, though it is not there": (answer(201), None, 2),
    "401": (answer(401), DeniedError, 1),
    "403": (answer(403), DeniedError, 1),
    "a session at another place": (answer(202, Location="https://evil.example/x"), None, 1),
    "chunks of a terabyte": ([("OCI-Chunk-Min-Length", "1000000000000")], None, 1),
}


@pytest.mark.parametrize("case", ASKED)
def test_without_an_offer_the_ordinary_way_is_taken(case: str) -> None:
    offer, error, asks = ASKED[case]
    far = Far(offers=[offer])
    door = remote(far)
    blobs = [describe(bytes([number]) * SIZE) for number in (1, 2)]

    if error is not None:
        with pytest.raises(error):
            door.receive(NAME, blobs[0], None)
        assert far.asks == asks
        return
    intakes = [door.receive(NAME, blob, None) for blob in blobs]

    assert all(isinstance(intake, UploadIntake) for intake in intakes)
    assert (far.asks, far.stored) == (asks, [])
    assert push(Far(offers=[offer])).transferred


def test_a_registry_that_does_not_answer_is_not_asked_twice_at_once() -> None:
    asked: list[Request] = []

    def gone(request: Request) -> Response:
        asked.append(request)
        raise TransientError("nobody answers")

    with pytest.raises(TransientError):
        Remote(Peer(gone, ORIGIN), direct=Direct(gone)).receive(NAME, BLOB, None)

    assert len(asked) == 1


def test_a_registry_that_has_it_already_is_sent_nothing() -> None:
    far = Far(offers=[answer(201)])

    def meanwhile(request: Request) -> Response:
        """Somebody else brings the blob between the first question and the second."""
        if request.method == "POST":
            far.hold(DATA)
        return far.registry(request)

    peer = Peer(meanwhile, ORIGIN)

    assert Remote(peer, direct=Direct(far.storage)).receive(NAME, BLOB, None) is None
    assert far.asks == 1
    assert not far.stored


def test_nobody_asks_for_what_fits_into_the_closing_put() -> None:
    far = Far()

    intake = remote(far).receive(NAME, describe(b"x" * 256 * 1024), None)

    assert isinstance(intake, UploadIntake)
    assert far.asks == 0


def test_without_a_bare_transport_an_upload_is_what_it_always_was() -> None:
    far = Far()

    Remote(Peer(far.registry, ORIGIN)).receive(NAME, BLOB, None)

    head, post = far.asked
    assert head.method == "HEAD"
    assert (post.url, list(post.headers)) == ("https://models.example/v2/acme/tiny/blobs/uploads/", [])
