"""How the registries people use answer whoever reads: a row each, and what a pull makes of it."""

from __future__ import annotations

import gzip

import pytest
from real_registries import NAME, SIZE, Client, weights
from registry_double import ORIGIN, Quirks, Registry
from scripted import answer, remote

from registry.errors import CorruptError, DeniedError, ProtocolError, Reason, RegistryError, TransientError
from registry.model.manifests import DOCKER_MANIFEST
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

READABLE: dict[str, Quirks] = {
    "HEAD 405": Quirks(head=405),
    "HEAD 501": Quirks(head=501),
    "blobs through a link that is signed for GET": Quirks(storage=True),
    "no Docker-Content-Digest": Quirks(digest_header=False),
    "manifests as text/plain": Quirks(manifest_type="text/plain; charset=utf-8"),
    "manifests as application/json, no digest": Quirks(manifest_type="application/json", digest_header=False),
    "manifests gzipped unasked": Quirks(compresses="manifests"),
}


@pytest.mark.parametrize("row", READABLE)
def test_a_model_is_pushed_read_back_and_pulled(row: str) -> None:
    client = Client(Registry(READABLE[row]))

    client.push()

    assert client.pull() == weights()[0]
    assert client.remote.digest(NAME) == weights()[0].manifest.digest
    assert client.registry.received <= SIZE + 10_000


@pytest.mark.parametrize("row", ["HEAD 405", "blobs through a link that is signed for GET"])
def test_a_size_that_no_head_tells_is_not_known(row: str) -> None:
    client = Client(Registry(READABLE[row]))
    client.push()

    assert client.remote.size(NAME, weights()[0].manifest.layers[0]) is None


@pytest.mark.parametrize("status", [403, 412, 421])
def test_a_head_that_is_refused_is_told_in_the_words_of_a_get(status: int) -> None:
    words = b'{"errors":[{"code":"NO","message":"set the public URL"}]}'

    def far(request: Request) -> Response:
        return Response(status, Headers(), b"" if request.method == "HEAD" else words)

    asked = Remote(Peer(far, ORIGIN))
    with pytest.raises(RegistryError, match="NO set the public URL"):
        asked.size(NAME, weights()[0].manifest.layers[0])
    with pytest.raises(RegistryError, match="NO set the public URL"):
        asked.digest(NAME)


def test_a_head_that_only_a_get_is_answered_for_is_not_known() -> None:
    raw = weights()[0].manifest.raw

    def far(request: Request) -> Response:
        return Response(403) if request.method == "HEAD" else Response(200, Headers(), raw)

    asked = Remote(Peer(far, ORIGIN))
    assert asked.size(NAME, weights()[0].manifest.layers[0]) is None
    assert asked.digest(NAME) == weights()[0].manifest.digest


def test_what_a_registry_is_broken_at_is_not_known_so_that_a_push_heals_it() -> None:
    """Debian's registry that was full: a link to a blob or tag is empty, and it answers 500 for ever."""
    asked = Remote(Peer(lambda _request: Response(500), ORIGIN))

    assert asked.size(NAME, weights()[0].manifest.layers[0]) is None
    assert asked.current(NAME) is None
    with pytest.raises(TransientError):
        asked.digest(NAME)


@pytest.mark.parametrize("status", [200, 206, 404, 503])
def test_a_head_that_failed_once_is_asked_again(status: int) -> None:
    """Nobody sends 40 GB again for one 500."""

    def far(request: Request) -> Response:
        return Response(500 if request.method == "HEAD" else status)

    with pytest.raises(TransientError):
        Remote(Peer(far, ORIGIN)).size(NAME, weights()[0].manifest.layers[0])


@pytest.mark.parametrize("busy", [False, True])
def test_a_registry_that_is_silent_or_busy_is_waited_for_once(busy: bool) -> None:
    """Another question would last as long, or come before the time that it has said."""
    asked: list[str] = []

    def far(request: Request) -> Response:
        asked.append(request.method)
        if busy:
            return Response(503, Headers({"Retry-After": "5"}))
        raise TransientError("it fell silent")

    with pytest.raises(TransientError):
        Remote(Peer(far, ORIGIN)).current(NAME)
    assert asked == ["HEAD"]


def test_a_name_that_is_not_told_for_a_while_is_asked_for_again() -> None:
    with pytest.raises(TransientError):
        Remote(Peer(lambda _request: Response(503), ORIGIN)).current(NAME)


def test_a_certificate_that_is_not_to_be_trusted_is_no_refusal_of_the_registry() -> None:
    """A mirror took the name for a new one then, and was told the same at its next question."""

    def far(_request: Request) -> Response:
        raise DeniedError("its certificate has expired", reason=Reason.CERTIFICATE_DATES)

    with pytest.raises(DeniedError, match="expired"):
        Remote(Peer(far, ORIGIN)).current(NAME)
    assert Remote(Peer(lambda _request: Response(403), ORIGIN)).current(NAME) is None


def test_a_blob_that_comes_compressed_is_refused() -> None:
    client = Client(Registry(Quirks(compresses="blobs")))
    client.push()

    with pytest.raises(ProtocolError, match="sent the bytes compressed"):
        client.pull()


def test_a_compressed_answer_is_decoded_within_its_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(ProtocolError, match="more than"):
        remote(answer(200, bomb, Content_Encoding="gzip")).resolve(NAME)


@pytest.mark.parametrize(
    ("body", "coding", "kind"),
    [
        (b"\x1f\x8b no", "gzip", ProtocolError),
        (b"plain", "gzip", ProtocolError),
        (gzip.compress(b"{}" * 1000, mtime=0)[:-9], "gzip", TransientError),
        (b"x", "br", ProtocolError),
        (b"x", "gzip, gzip", ProtocolError),
    ],
    ids=["not gzip", "plain", "cut off", "another coding", "two codings"],
)
def test_a_coding_that_cannot_be_undone_is_one_error(
    body: bytes, coding: str, kind: type[RegistryError]
) -> None:
    with pytest.raises(kind, match="compressed") as caught:
        remote(answer(200, body, Content_Encoding=coding)).resolve(NAME)
    assert type(caught.value) is kind


def test_what_cannot_be_read_back_is_published_all_the_same_and_the_error_says_so() -> None:
    manifest = weights()[0].manifest
    for back in (answer(503), answer(200, b"x", Content_Encoding="br"), answer(404)):
        with pytest.raises(RegistryError, match=r"tiny:1 is published; reading it back"):
            remote(answer(201), back).publish(NAME, manifest)
    with pytest.raises(CorruptError, match="another manifest"):
        remote(answer(201), answer(200, b"{}")).publish(NAME, manifest)


# What a registry says that refuses: the error, and what its sentence has in it.
SAID: dict[str, tuple[Response, type[RegistryError], str]] = {
    "Harbor: a policy forbids the pull": (
        answer(412, b'{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"not scanned"}]}'),
        ProtocolError,
        "412: PROJECTPOLICYVIOLATION not scanned",
    ),
    "429, hours": (
        Response(429, Headers({"Retry-After": "21600"})),
        TransientError,
        "429; it asks to be left alone for 6 h",
    ),
    "429, an hour and a half": (
        Response(429, Headers({"Retry-After": "5400"})),
        TransientError,
        "1 h 30 min",
    ),
    "a web page, 200": (
        answer(200, b"<!DOCTYPE html><html>", Content_Type="text/html"),
        ProtocolError,
        "models.example sent a web page",
    ),
    "a web page, 404": (
        answer(404, b"\n <html>"),
        RegistryError,
        "models.example answered 404 with a web",
    ),
    "421, with the server's advice": (
        answer(421, b'{"errors":[{"code":"DENIED","message":"--public-url gives it one"}]}'),
        ProtocolError,
        "--public-url gives it one",
    ),
    "401": (answer(401, b"{}"), DeniedError, "answered 401"),
}


@pytest.mark.parametrize("row", SAID)
def test_a_refusal_is_told_in_the_registrys_words(row: str) -> None:
    response, kind, words = SAID[row]

    with pytest.raises(kind) as caught:
        remote(response).resolve(NAME)

    assert words in str(caught.value)
    assert "newer client" not in str(caught.value)


PAGE = b"<!DOCTYPE html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, Reason.NO_REGISTRY_THERE),
        (404, Reason.NO_REGISTRY_THERE),
        (418, Reason.NO_REGISTRY_THERE),
        (401, Reason.NOT_SIGNED_IN),
        (403, Reason.NOT_ALLOWED),
        (502, Reason.BUSY),  # nginx's own page: the registry behind it is away
    ],
)
def test_a_web_page_raises_the_question_of_the_address_where_that_may_be_wrong(
    status: int, reason: Reason
) -> None:
    with pytest.raises(RegistryError, match=r"models\.example .*a web page$") as caught:
        remote(answer(status, PAGE)).resolve(NAME)
    assert caught.value.reason is reason
    if status == 200:
        with pytest.raises(ProtocolError, match=r"models\.example sent a web page$") as caught:
            list(remote(answer(status, PAGE)).tags(NAME))
        assert caught.value.reason is reason


def test_only_ollamas_own_registry_means_a_newer_client_by_412() -> None:
    with pytest.raises(ProtocolError, match="wants a newer client"):
        here = type(ORIGIN)("https", "registry.ollama.ai", 443)
        Remote(Peer(lambda _: answer(412), here)).resolve(NAME)


@pytest.mark.parametrize("status", [307, 308, 302])
def test_a_redirect_of_what_is_sent_says_where_to_and_no_more(status: int) -> None:
    to = "https://storage.example/x?sig=s3cret"
    blob = weights()[0].manifest.layers[0]
    with pytest.raises(ProtocolError, match=r"a redirect to storage\.example$") as caught:
        remote(answer(404), answer(status, Location=to)).receive(NAME, blob, None)
    assert "s3cret" not in str(caught.value)


def test_a_range_is_answered_through_a_signed_link() -> None:
    client = Client(Registry(Quirks(storage=True)))
    client.push()
    blob = weights()[0].manifest.layers[0]

    reading = client.remote.open(NAME, blob, Span(5, 7))

    assert b"".join(reading.stream) == weights()[0].blobs[blob.digest][5:12]
    assert weights()[0].manifest.media_type == DOCKER_MANIFEST
