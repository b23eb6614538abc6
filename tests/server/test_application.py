"""What the registry answers: ranges, validators, lists and errors, asked over HTTP."""

from __future__ import annotations

import json

import pytest
from labs import Lab

from registry.model.digests import Digest
from registry.model.manifests import MANIFEST_BYTES, OCI_MANIFEST

DATA = bytes(range(200))
SIZE = len(DATA)


def code(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"])


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=10-19", 10, 19),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes={SIZE - 1}-{SIZE + 1000}", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        (f"bytes=-{SIZE + 5}", 0, SIZE - 1),
    ],
)
def test_a_range_is_answered_with_exactly_its_bytes(lab: Lab, asked: str, first: int, last: int) -> None:
    answer = lab.call("GET", lab.blob(DATA), Range=asked)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.body == DATA[first : last + 1]
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=-0", "bytes=50-0"])
def test_a_range_behind_the_end_or_backwards_is_416_and_says_the_size(lab: Lab, asked: str) -> None:
    answer = lab.call("GET", lab.blob(DATA), Range=asked)
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert code(answer.body) == "RANGE_INVALID"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "items=0-1", "bytes=", "bytes=a-b", "0-1"])
def test_what_is_no_range_we_know_means_the_whole(lab: Lab, asked: str) -> None:
    answer = lab.call("GET", lab.blob(DATA), Range=asked)
    assert (answer.status, answer.body) == (200, DATA)


def test_a_range_of_another_version_means_the_whole(lab: Lab) -> None:
    path = lab.blob(DATA)
    etag = lab.call("HEAD", path).headers["etag"]
    assert etag == f'"{Digest.of(DATA)}"'
    assert lab.call("GET", path, Range="bytes=0-9", If_Range=etag).status == 206
    other = lab.call("GET", path, Range="bytes=0-9", If_Range='"another"')
    assert (other.status, other.body) == (200, DATA)


def test_a_head_says_what_a_get_would_and_ignores_ranges(lab: Lab) -> None:
    answer = lab.call("HEAD", lab.blob(DATA), Range="bytes=0-9")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(SIZE)


def test_a_manifest_is_taken_up_to_its_limit_and_not_a_byte_more(lab: Lab) -> None:
    raw = lab.manifest(DATA)
    path = "/v2/acme/tiny/manifests/limit"
    full = raw + b" " * (MANIFEST_BYTES - len(raw))
    assert lab.call("PUT", path, full, Content_Type=OCI_MANIFEST).status == 201
    assert lab.call("GET", path, Accept=OCI_MANIFEST).body == full
    assert lab.call("PUT", path, full + b" ", Content_Type=OCI_MANIFEST).status == 413


def test_a_manifest_whose_sizes_are_not_its_blobs_is_refused(lab: Lab) -> None:
    document = json.loads(lab.manifest(DATA))
    document["layers"][0]["size"] += 1
    answer = lab.call(
        "PUT", "/v2/acme/tiny/manifests/sizes", json.dumps(document).encode(), Content_Type=OCI_MANIFEST
    )
    assert (answer.status, code(answer.body)) == (400, "MANIFEST_INVALID")


def test_a_manifest_sent_under_anothers_digest_is_refused(lab: Lab) -> None:
    raw = lab.manifest(DATA)
    path = f"/v2/acme/tiny/manifests/{Digest.of(b'another')}"
    answer = lab.call("PUT", path, raw, Content_Type=OCI_MANIFEST)
    assert (answer.status, code(answer.body)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_manifest_pushed_by_digest_gets_the_tags_of_its_query_too(lab: Lab, algorithm: str) -> None:
    raw = lab.manifest(DATA)
    digest = Digest.of(raw, algorithm)
    path = f"/v2/acme/{algorithm}/manifests"
    raw = lab.manifest(DATA, repository=f"acme/{algorithm}")

    answer = lab.call("PUT", f"{path}/{digest}?tag=one&tag=two&tag=one", raw, Content_Type=OCI_MANIFEST)

    assert (answer.status, answer.headers["docker-content-digest"]) == (201, str(digest))
    for tag in ("one", "two"):
        told = lab.call("GET", f"{path}/{tag}", Accept=OCI_MANIFEST)
        assert (told.body, told.headers["docker-content-digest"]) == (raw, str(digest))


@pytest.mark.parametrize("query", ["latest?tag=one", f"{Digest.of(b'x')}?tag=-", f"{Digest.of(b'x')}?tag="])
def test_tags_that_cannot_be_are_refused(lab: Lab, query: str) -> None:
    answer = lab.call("PUT", f"/v2/acme/tiny/manifests/{query}", b"{}", Content_Type=OCI_MANIFEST)
    assert (answer.status, code(answer.body)) == (400, "TAG_INVALID")


def test_every_answer_has_an_identifier_and_none_says_what_runs_here(lab: Lab) -> None:
    one, other = lab.call("GET", "/v2/"), lab.call("GET", "/nothing")
    assert one.headers["x-request-id"] != other.headers["x-request-id"]
    assert one.headers["server"] == "ferry"


def test_a_foreign_host_is_told_which_name_it_used_and_what_to_set(lab: Lab) -> None:
    answer = lab.call("GET", "/v2/", Host="models.acme.example:8443")
    assert answer.status == 421
    message = json.loads(answer.body)["errors"][0]["message"]
    assert "--public-url https://models.acme.example:8443" in message
    assert "proxy_set_header Host $http_host" in message
