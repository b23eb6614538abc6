"""Several tags in one push, and tags that are not to move: registries that know it, and those that do not."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from registry_double import ORIGIN
from test_said_visibility import MANIFEST, NAME

from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    MissingBlobsError,
    NotFoundError,
    ProtocolError,
    Reason,
)
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, image
from registry.targets.manifest_push import PushOptions
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

PRECONDITION = b'{"errors":[{"code":"PRECONDITION"}]}'
OTHER = Digest.of(b"another manifest")


class Registry:
    """A registry of one repository that keeps which tag stands for what; `asked` are its requests."""

    def __init__(self, *, together: bool = True, **tags: Digest) -> None:
        self.tags = {key.removeprefix("t_"): digest for key, digest in tags.items()}
        self.together = together
        self.asked: list[str] = []
        self.refuses: dict[str, int] = {}  # by tag; "": tags behind a digest
        self.refusal = PRECONDITION
        self.most = 50  # tags that one request makes

    def __call__(self, request: Request) -> Response:
        url = urlsplit(request.url)
        reference = url.path.rpartition("/")[2]
        absent = " absent" if request.headers.get("If-None-Match") == "*" else ""
        self.asked.append(f"{request.method} {reference[:7]}{'?' * bool(url.query)}{absent}")
        if request.method == "PUT":
            return self._put(reference, [part.partition("=")[2] for part in url.query.split("&") if part])
        found = self.tags.get(reference)
        if found is None:
            return Response(404)
        return Response(200, Headers({"Docker-Content-Digest": str(found)}), MANIFEST.raw)

    def _put(self, reference: str, tags: list[str]) -> Response:
        if tags and not self.together:
            return Response(201)
        if tags and "" in self.refuses:
            return Response(self.refuses[""], Headers(), self.refusal)
        tags = tags[: self.most]
        for tag in tags or [reference]:
            if tag in self.refuses:
                return Response(self.refuses[tag], Headers(), self.refusal)
        self.tags.update(dict.fromkeys(tags or [reference], MANIFEST.digest))
        return Response(201, Headers([("OCI-Tag", tag) for tag in tags]))


def remote(registry: Registry, *also: str, if_absent: bool = False, visibility: str = "") -> Remote:
    options = PushOptions(visibility, also, if_absent)
    return Remote(Peer(registry, ORIGIN, now=lambda: 0.0), options=options)


def test_several_tags_are_one_request_where_that_is_known() -> None:
    registry = Registry(t_b=MANIFEST.digest)
    remote(registry, "a", "b").publish(NAME, MANIFEST)
    assert registry.asked == ["HEAD 1", "HEAD a", "HEAD b", "PUT sha256:?", "GET 1", "GET a"]
    assert registry.tags == dict.fromkeys(("1", "a", "b"), MANIFEST.digest)
    registry.asked.clear()
    remote(registry, "a", "b").publish(NAME, MANIFEST)
    assert registry.asked == ["HEAD 1", "HEAD a", "HEAD b"]  # nothing has to be written


def test_each_tag_is_asked_for_before_the_bytes_and_after_them_and_no_third_time() -> None:
    registry = Registry(t_b=OTHER)
    there = remote(registry, "a", "b")
    assert [there.current(NAME.with_reference(tag)) for tag in ("a", "b")] == [None, OTHER]
    assert there.current(NAME) is None
    there.prepare(NAME, MANIFEST)
    assert registry.asked == ["HEAD a", "HEAD b", "HEAD 1"]
    there.publish(NAME, MANIFEST)
    assert registry.asked[3:7] == ["HEAD 1", "HEAD a", "HEAD b", "PUT sha256:?"]


def test_what_was_said_a_moment_ago_is_believed_once_and_not_when_the_tag_is_put() -> None:
    registry = Registry()
    there = remote(registry, if_absent=True)
    assert there.current(NAME) is None
    there.prepare(NAME, MANIFEST)
    registry.tags["1"] = OTHER  # while the bytes go up
    with pytest.raises(ProtocolError, match="somebody made it meanwhile"):
        there.publish(NAME, MANIFEST)
    with pytest.raises(ProtocolError, match="nothing was sent"):
        there.prepare(NAME, MANIFEST)
    assert registry.tags == {"1": OTHER}


def test_what_an_index_names_gets_no_tag_of_the_index() -> None:
    registry = Registry()
    remote(registry, "a").publish(NAME.with_reference(MANIFEST.digest), MANIFEST)
    assert [asked.partition(" ")[0] for asked in registry.asked] == ["HEAD", "PUT", "GET"]
    assert [*registry.tags] == [str(MANIFEST.digest)]


def test_where_it_is_not_known_an_error_says_what_is_published_by_then() -> None:
    registry = Registry(together=False)
    registry.refuses["b"] = 400
    with pytest.raises(ProtocolError, match=r"tiny:b \(.*tiny:1, .*tiny:a published already\)"):
        remote(registry, "a", "b").publish(NAME, MANIFEST)
    assert sorted(registry.tags) == ["1", "a"]


def test_what_one_request_did_is_told_where_the_rest_fails() -> None:
    """A registry may take some of the tags, as it says."""
    registry = Registry()
    registry.most, registry.refuses["b"] = 2, 400
    with pytest.raises(ProtocolError, match=r"tiny:b \(.*tiny:1, .*tiny:a published already\)"):
        remote(registry, "a", "b").publish(NAME, MANIFEST)
    assert sorted(registry.tags) == ["1", "a"]


@pytest.mark.parametrize("status", [400, 404, 405, 414, 422, 431, 501])
def test_tags_that_are_refused_behind_a_digest_are_put_alone(status: int) -> None:
    registry = Registry()
    registry.refuses[""], registry.refusal = status, b""
    remote(registry, "a").publish(NAME, MANIFEST)
    assert registry.asked[2:] == ["PUT sha256:?", "PUT 1", "GET 1", "PUT a", "GET a"]


def test_several_tags_are_as_visible_as_was_asked_or_that_is_said() -> None:
    registry = Registry()
    with pytest.raises(ProtocolError, match=r"is published, and .* does not say that it is private"):
        remote(registry, "a", visibility="private").publish(NAME, MANIFEST)
    assert registry.asked[-1] == "PUT sha256:?"


def test_a_blob_that_is_missing_is_no_reason_to_put_tags_alone() -> None:
    registry = Registry()
    registry.refuses[""], registry.refusal = 400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'
    with pytest.raises(MissingBlobsError):
        remote(registry, "a").publish(NAME, MANIFEST)
    assert registry.asked[-1] == "PUT sha256:?"


def test_what_is_not_the_digest_that_it_is_to_go_by_is_not_sent() -> None:
    registry = Registry()
    name = NAME.with_reference(OTHER)
    with pytest.raises(InvalidError, match=f"the manifest is {MANIFEST.digest}; nothing was sent"):
        remote(registry).prepare(name, MANIFEST)
    assert registry.asked == []
    remote(registry).prepare(NAME.with_reference(Digest.of(MANIFEST.raw, "sha512")), MANIFEST)


def test_a_tag_that_is_made_between_the_look_and_the_push_is_told() -> None:
    registry = Registry()
    there = remote(registry, if_absent=True)
    there.prepare(NAME, MANIFEST)
    registry.refuses["1"] = 412  # the far side compares: another push was quicker
    for registry.refusal in (PRECONDITION, b""):
        with pytest.raises(ProtocolError, match="no tag was moved") as caught:
            there.publish(NAME, MANIFEST)
        assert caught.value.reason is Reason.TAG_TAKEN
    assert registry.asked[-1] == "PUT 1 absent"
    registry.tags["1"] = OTHER  # while the bytes went up
    with pytest.raises(ProtocolError, match="somebody made it meanwhile"):
        there.publish(NAME, MANIFEST)
    assert registry.tags == {"1": OTHER}


def test_where_it_is_not_told_what_is_there_nothing_is_taken_for_absent() -> None:
    def closed(_request: Request) -> Response:
        return Response(403)

    there = Remote(Peer(closed, ORIGIN, now=lambda: 0.0), options=PushOptions(if_absent=True))
    assert there.current(NAME) is None
    with pytest.raises(DeniedError):
        there.prepare(NAME, MANIFEST)


@pytest.mark.parametrize("taken", [True, False], ids=["read back", "put"])
def test_a_web_page_is_called_that_and_is_no_other_manifest(taken: bool) -> None:
    page = Response(200, Headers(), b"<html>Sign in</html>")
    registry = Registry()

    def far(request: Request) -> Response:
        return registry(request) if taken and request.method == "PUT" else page

    with pytest.raises(ProtocolError, match="sent a web page") as caught:
        Remote(Peer(far, ORIGIN)).publish(NAME, MANIFEST)
    assert ("is published" in caught.value.message) == taken


def test_another_manifest_than_was_sent_is_said_to_be_published() -> None:
    registry = Registry()

    def far(request: Request) -> Response:
        answer = registry(request)
        return answer if request.method == "PUT" else Response(200, Headers(), b"{}")

    with pytest.raises(CorruptError, match=r"is published; .* returns another manifest"):
        Remote(Peer(far, ORIGIN)).publish(NAME, MANIFEST)


def test_what_cannot_be_read_back_is_no_name_to_be_checked() -> None:
    def far(request: Request) -> Response:
        return Response(201 if request.method == "PUT" else 404)

    with pytest.raises(NotFoundError, match="is published; reading it back") as caught:
        Remote(Peer(far, ORIGIN)).publish(NAME, MANIFEST)
    assert caught.value.reason is Reason.NONE and "a little later" in caught.value.hint


def test_a_long_answer_to_a_manifest_that_was_taken_is_no_failure() -> None:
    registry = Registry()

    def far(request: Request) -> Response:
        answer = registry(request)
        return Response(201, Headers(), bytes(100_000)) if request.method == "PUT" else answer

    Remote(Peer(far, ORIGIN)).publish(NAME, MANIFEST)


@pytest.mark.parametrize(("times", "published"), [(1, True), (3, True), (1000, False)])
def test_a_digest_that_is_called_wrong_while_another_puts_the_same_manifest_is_put_again(
    times: int, published: bool
) -> None:
    """Debian's registry, and an index that was mirrored beside a tag of one of its children."""
    registry = Registry()
    wrong = Response(400, Headers(), b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    puts = []

    def busy(request: Request) -> Response:
        puts.extend([request] * (request.method == "PUT"))
        return wrong if request.method == "PUT" and len(puts) <= times else registry(request)

    if published:
        Remote(Peer(busy, ORIGIN)).publish(NAME, MANIFEST)
        assert len(puts) == times + 1
    else:
        with pytest.raises(ProtocolError, match="DIGEST_INVALID"):
            Remote(Peer(busy, ORIGIN)).publish(NAME, MANIFEST)
        assert len(puts) == 4


# --- layers that are kept elsewhere ----------------------------------------------------------------------

KEPT_ELSEWHERE = Descriptor(
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Digest.of(b"elsewhere"), 9
)
UNKNOWN = {"code": "UNKNOWN", "message": "unknown error"}


@pytest.mark.parametrize("detail", [{}, "invalid URL on layer"])
def test_a_layer_that_is_kept_elsewhere_and_not_taken_is_named_at_once(detail: object) -> None:
    """CNCF's registry answers 500; v3 says what is wrong behind its first error, and Debian's nowhere."""
    unknown = {
        "code": "MANIFEST_BLOB_UNKNOWN",
        "message": "blob unknown",
        "detail": str(KEPT_ELSEWHERE.digest),
    }
    errors = json.dumps({"errors": [UNKNOWN, {**UNKNOWN, "detail": detail}, unknown]}).encode()
    manifest = image(MANIFEST.descriptor(), [KEPT_ELSEWHERE.as_json()])
    registry = Registry()
    registry.refuses[NAME.tag], registry.refusal = 500, errors

    with pytest.raises(ProtocolError) as caught:
        remote(registry).publish(NAME, manifest)

    why = f": {detail}" if detail else ""
    assert caught.value.message == (
        f"publishing {NAME}: models.example does not take a model with a layer that is kept elsewhere, "
        f"as {KEPT_ELSEWHERE.digest.short} is (500 UNKNOWN unknown error{why})"
    )
