"""A registry that lies: every lie is one error of the expected class, and never a wrong model.

One row a case. Bodies, redirects and tokens on real sockets have their rows in `tests/net` and `tests/auth`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from scripted import BLOB, NAME, ORIGIN, answer, remote

from registry.errors import (
    CorruptError,
    DeniedError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    TooLongError,
    TransientError,
)
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_MANIFEST, OCI_INDEX
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.messages import Request, Response

CONFIG = {"mediaType": "application/json", "digest": str(Digest.of(b"{}")), "size": 2}


def manifest(**changes: object) -> bytes:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": CONFIG,
        "layers": [BLOB.as_json()],
    }
    document.update(changes)
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def layer(**changes: object) -> bytes:
    return manifest(layers=[{**BLOB.as_json(), **changes}])


HEX = "0" * 64

MANIFESTS: dict[str, tuple[bytes, type[RegistryError]]] = {
    "not JSON": (b"<html>It works!</html>", ProtocolError),
    "nothing": (b"", ProtocolError),
    "not UTF-8": (b'{"schemaVersion":2,"x":"\xff"}', ProtocolError),
    "a list": (b"[]", ProtocolError),
    "duplicate keys": (b'{"schemaVersion":2,"schemaVersion":2}', ProtocolError),
    "100k deep": (b"[" * 100_000 + b"]" * 100_000, ProtocolError),
    "deep inside a field": (b'{"schemaVersion":2,"x":' + b"[" * 5000 + b"]" * 5000 + b"}", ProtocolError),
    "version 1": (manifest(schemaVersion=1), ProtocolError),
    "version true": (manifest(schemaVersion=True), ProtocolError),
    "unknown kind": (manifest(mediaType="application/vnd.evil+json"), ProtocolError),
    "media type not text": (manifest(mediaType=7), ProtocolError),
    "no config": (manifest(config=...), ProtocolError),
    "config a list": (manifest(config=[]), ProtocolError),
    "layers an object": (manifest(layers={}), ProtocolError),
    "a layer that is text": (manifest(layers=["x"]), ProtocolError),
    "image and index at once": (manifest(manifests=[]), ProtocolError),
    "more than 4 MiB": (manifest(annotations={"x": "y" * 4_200_000}), TooLongError),
    "60,000 layers": (manifest(layers=[0] * 60_000), ProtocolError),
    "annotations not text": (manifest(annotations={"a": 1}), ProtocolError),
    "two sizes for one digest": (
        manifest(layers=[BLOB.as_json(), {**BLOB.as_json(), "size": 11}]),
        ProtocolError,
    ),
    "size negative": (layer(size=-1), ProtocolError),
    "size beyond any disk": (layer(size=2**63), ProtocolError),
    "size not whole": (layer(size=1.5), ProtocolError),
    "size true": (layer(size=True), ProtocolError),
    "size text": (layer(size="10"), ProtocolError),
    "size of 5,000 digits": (manifest(layers=...)[:-1] + b',"x":' + b"9" * 5000 + b"}", ProtocolError),
    "size NaN": (manifest().replace(b": 10}", b": NaN}"), ProtocolError),
    "digest traverses": (layer(digest="sha256:../../../../etc/passwd"), ProtocolError),
    "digest too short": (layer(digest="sha256:" + "0" * 63), ProtocolError),
    "digest too long": (layer(digest="sha256:" + "0" * 65), ProtocolError),
    "digest upper case": (layer(digest="sha256:" + "A" * 64), ProtocolError),
    "digest in Ollama's file form": (layer(digest="sha256-" + HEX), ProtocolError),
    "digest of md5": (layer(digest="md5:" + "0" * 32), ProtocolError),
    "digest with a newline": (layer(digest="sha256:" + "0" * 63 + "\n"), ProtocolError),
    "digest percent-encoded": (layer(digest="sha256%3A" + HEX), ProtocolError),
    "digest of full-width digits": (layer(digest="sha256:" + "\uff10" * 64), ProtocolError),
    "digest missing": (layer(digest=None), ProtocolError),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_bad_manifest_is_one_error(case: str) -> None:
    body, expected = MANIFESTS[case]

    with pytest.raises(expected) as caught:
        remote(answer(200, body)).resolve(NAME)

    assert type(caught.value) is expected
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_bytes_that_are_not_the_asked_digest_are_corrupt() -> None:
    name = NAME.with_reference(Digest.of(b"something else"))
    with pytest.raises(CorruptError):
        remote(answer(200, manifest())).resolve(name)


def test_a_digest_header_that_lies_is_noticed() -> None:
    with pytest.raises(CorruptError):
        remote(answer(200, manifest(), Docker_Content_Digest=f"sha256:{HEX}")).resolve(NAME)


def test_a_digest_header_that_is_none_is_noticed() -> None:
    with pytest.raises(ProtocolError):
        remote(answer(200, manifest(), Docker_Content_Digest="sha256:../x")).resolve(NAME)


def test_a_manifest_sent_as_another_kind_is_refused() -> None:
    with pytest.raises(ProtocolError):
        remote(answer(200, manifest(), Content_Type=OCI_INDEX)).resolve(NAME)


STATUSES: dict[int, type[RegistryError]] = {
    **dict.fromkeys((401, 403, 451), DeniedError),
    **dict.fromkeys((404, 410), NotFoundError),
    **dict.fromkeys((408, 425, 429, 500, 503, 599), TransientError),
    **dict.fromkeys((204, 302, 412, 418, 501, 505), ProtocolError),
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_class(status: int) -> None:
    with pytest.raises(STATUSES[status]) as caught:
        remote(answer(status, b"{}")).resolve(NAME)
    assert type(caught.value) is STATUSES[status]


WORDS: dict[str, bytes] = {
    "control characters": b'{"errors":[{"code":"X","message":"\\u001b[31mred\\u0007\\r\\n"}]}',
    "raw escape": b"\x1b]0;owned\x07",
    "right-to-left": '{"error":"a\u202eb"}'.encode(),
    "megabytes": b'{"error":"' + b"x" * 60_000 + b'"}',
    "more than the limit": b"y" * 100_000,
    "deep": b"[" * 50_000,
    "errors not a list": b'{"errors":{"a":1}}',
    "an HTML page": b"<html><script>alert(1)</script>",
}


@pytest.mark.parametrize("case", WORDS)
def test_what_a_peer_says_is_printed_harmlessly(case: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        remote(answer(404, WORDS[case])).resolve(NAME)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert "<script>" not in str(caught.value)


RANGES: dict[str, tuple[Response, type[RegistryError]]] = {
    "206 without Content-Range": (answer(206, b"234"), ProtocolError),
    "another first byte": (answer(206, b"345", Content_Range="bytes 3-5/10"), ProtocolError),
    "more than asked": (answer(206, b"23456", Content_Range="bytes 2-6/10"), ProtocolError),
    "another whole": (answer(206, b"234", Content_Range="bytes 2-4/11"), ProtocolError),
    "ends behind the whole": (answer(206, b"234", Content_Range="bytes 2-4/4"), ProtocolError),
    "backwards": (answer(206, b"234", Content_Range="bytes 4-2/10"), ProtocolError),
    "another unit": (answer(206, b"234", Content_Range="items 2-4/10"), ProtocolError),
    "huge numbers": (answer(206, b"234", Content_Range=f"bytes 2-{'9' * 40}/10"), ProtocolError),
    "a body of another length": (answer(206, b"2345", Content_Range="bytes 2-4/10"), ProtocolError),
    "200 with a part only": (answer(200, b"234"), ProtocolError),
    "200 with nothing": (answer(200, b""), ProtocolError),
    "short, length not said": (answer(206, [b"23"], Content_Range="bytes 2-4/10"), TransientError),
    "long, length not said": (answer(206, [b"234", b"5"], Content_Range="bytes 2-4/10"), ProtocolError),
    "endless": (answer(206, [b"x" * 100] * 100, Content_Range="bytes 2-4/10"), ProtocolError),
    "416": (answer(416, b""), ProtocolError),
    "expired link": (answer(403, b"<Error>Expired</Error>"), DeniedError),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_range_that_lies_is_never_taken_for_the_bytes(case: str) -> None:
    response, expected = RANGES[case]

    with pytest.raises(expected) as caught:
        reading = remote(response).open(NAME, BLOB, Span(2, 3))
        assert b"".join(reading.stream) != b"234"

    assert type(caught.value) is expected


def test_a_whole_answer_to_a_range_says_so() -> None:
    reading = remote(answer(200, b"0123456789")).open(NAME, BLOB, Span(2, 3))

    assert reading.span == Span(0, 10)
    assert b"".join(reading.stream) == b"0123456789"


def test_a_blob_of_another_size_is_not_there() -> None:
    assert remote(answer(200, Content_Length="11")).size(NAME, BLOB) is None
    assert remote(answer(200, Content_Length="10")).size(NAME, BLOB) == 10
    assert remote(answer(404)).size(NAME, BLOB) is None


def test_a_manifest_that_comes_back_changed_is_no_success() -> None:
    target = remote(answer(201), answer(200, manifest(annotations={"a": "b"})))
    resolved = remote(answer(200, manifest())).resolve(NAME)

    with pytest.raises(CorruptError):
        target.publish(NAME, resolved)


LISTS: dict[str, tuple[list[Response], type[RegistryError]]] = {
    "not JSON": ([answer(200, b"no")], ProtocolError),
    "not an object": ([answer(200, b"[]")], ProtocolError),
    "tags are a number": ([answer(200, b'{"tags":7}')], ProtocolError),
    "a tag is a number": ([answer(200, b'{"tags":[7]}')], ProtocolError),
    "next page elsewhere": (
        [answer(200, b'{"tags":["a"]}', Link='<https://evil.example/v2/x>; rel="next"')],
        ProtocolError,
    ),
    "deep": ([answer(200, b"[" * 100_000)], ProtocolError),
    "a page of 5 MiB": ([answer(200, [b"x" * 1_000_000] * 5)], ProtocolError),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_lies_is_one_error(case: str) -> None:
    answers, expected = LISTS[case]
    with pytest.raises(expected):
        list(remote(*answers).tags(NAME))


def test_a_list_without_end_ends() -> None:
    pages = iter(range(10**9))

    def endless(_request: Request) -> Response:
        page = next(pages)
        return answer(200, b'{"tags":[]}', Link=f'</v2/acme/tiny/tags/list?n=1&last={page}>; rel="next"')

    with pytest.raises(ProtocolError, match="without end"):
        list(Remote(Peer(endless, ORIGIN)).tags(NAME))


def test_pages_are_followed_and_sorted() -> None:
    first = answer(200, b'{"tags":["b"]}', Link='</v2/acme/tiny/tags/list?n=1&last=b>; rel="next"')
    assert list(remote(first, answer(200, b'{"tags":["a"]}')).tags(NAME)) == ["a", "b"]


def test_a_repository_without_tags_has_none() -> None:
    assert list(remote(answer(200, b'{"name":"x","tags":null}')).tags(NAME)) == []


def test_the_table_is_long_enough() -> None:
    groups: list[Callable[[], int]] = [MANIFESTS.__len__, RANGES.__len__, LISTS.__len__]
    assert all(size() >= 5 for size in groups)
    assert sum(size() for size in groups) >= 50
