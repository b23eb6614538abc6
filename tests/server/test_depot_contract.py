"""What every depot promises: the one on disk and the one in memory pass the same suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from depots import on_disk
from sample_models import describe, index_of

from registry.contracts import Actor, Depot, Document
from registry.disk import files
from registry.errors import CorruptError, InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, Descriptor, Manifest, image
from registry.model.spans import FileSpan, Span
from registry.server.descriptors import PAGE_BYTES

WEIGHTS = bytes(range(256)) * 5000
CONFIG = b"{}"


def put(depot: Depot, data: bytes, repository: str = "acme/tiny", algorithm: str = "sha256") -> Digest:
    digest = Digest.of(data, algorithm)
    upload = depot.begin(repository)
    upload.write(data[: len(data) // 2])
    upload.write(data[len(data) // 2 :])
    upload.commit(digest)
    upload.close()
    return digest


def get(depot: Depot, digest: Digest, repository: str = "acme/tiny") -> bytes | None:
    blob = depot.blob(repository, digest)
    if blob is None:
        return None
    content = blob.content(Span(0, blob.size))
    return b"".join(files.read_span(content)) if isinstance(content, FileSpan) else content


def model(*layers: bytes, subject: Digest | None = None) -> Manifest:
    config = Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG))
    manifest = image(config, [Descriptor("x/y", Digest.of(each), len(each)).as_json() for each in layers])
    if subject is None:
        return manifest
    document = json.loads(manifest.raw)
    document["subject"] = {"mediaType": manifest.media_type, "digest": str(subject), "size": 7}
    return Manifest.parse(json.dumps(document).encode())


def same(document: Document | None, manifest: Manifest) -> bool:
    """Whether what is kept is this manifest, byte for byte."""
    return document == Document(manifest.digest, manifest.media_type, manifest.raw)


def tags(depot: Depot, repository: str = "acme/tiny", after: str = "", limit: int = 9) -> list[str]:
    return [each.tag for each in depot.tags(repository, after, limit)]


def published(depot: Depot, tag: str | None = "1", repository: str = "acme/tiny") -> Manifest:
    put(depot, WEIGHTS, repository)
    put(depot, CONFIG, repository)
    manifest = model(WEIGHTS)
    depot.publish(repository, manifest, tag)
    return manifest


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [WEIGHTS, b""], ids=["bytes", "nothing"])
def test_a_blob_is_there_when_it_was_proven(depot: Depot, data: bytes, algorithm: str) -> None:
    digest = put(depot, data, algorithm=algorithm)

    blob = depot.blob("acme/tiny", digest)

    assert blob is not None
    assert blob.size == len(data)
    assert get(depot, digest) == data


def test_bytes_that_are_not_the_digest_leave_nothing(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(b"something else")

    with pytest.raises(CorruptError):
        upload.commit(Digest.of(WEIGHTS))
    upload.close()

    assert depot.blob("acme/tiny", Digest.of(WEIGHTS)) is None
    assert depot.blob("acme/tiny", Digest.of(b"something else")) is None
    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", upload.id)


def test_a_blob_is_there_only_in_its_repository(depot: Depot) -> None:
    digest = put(depot, WEIGHTS)
    assert depot.blob("acme/other", digest) is None
    assert depot.holders(digest) == ["acme/tiny"]


def test_repositories_compare_without_case(depot: Depot) -> None:
    manifest = published(depot, repository="Acme/Tiny")
    assert depot.exists("acme/TINY")
    assert same(depot.manifest("ACME/tiny", "1"), manifest)
    assert get(depot, Digest.of(WEIGHTS), "aCmE/tInY") == WEIGHTS
    assert tags(depot, "acme/Tiny") == ["1"]


def test_an_upload_goes_on_where_it_was_left(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(WEIGHTS[:1000])
    upload.close()

    again = depot.upload("acme/tiny", upload.id)
    assert again.received == 1000
    again.write(WEIGHTS[1000:])
    again.commit(Digest.of(WEIGHTS))
    again.close()

    assert get(depot, Digest.of(WEIGHTS)) == WEIGHTS


@pytest.mark.parametrize("offset", [0, 1, 999, 1000])
def test_a_rewound_upload_forgets_what_came_after(depot: Depot, offset: int) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(WEIGHTS[:offset] + b"x" * (1000 - offset))
    upload.rewind(offset)
    assert upload.received == offset
    upload.write(WEIGHTS[offset:])
    upload.commit(Digest.of(WEIGHTS))
    upload.close()
    assert get(depot, Digest.of(WEIGHTS)) == WEIGHTS


def test_an_upload_cannot_skip_bytes(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(b"12")
    with pytest.raises(InvalidError):
        upload.rewind(3)
    assert upload.received == 2
    upload.close()


def test_an_upload_belongs_to_its_repository(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.close()
    with pytest.raises(NotFoundError):
        depot.upload("acme/other", upload.id)


def test_a_cancelled_upload_is_gone(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(b"12")
    upload.cancel()
    upload.close()
    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", upload.id)


def test_what_is_a_blob_is_not_cancelled(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(WEIGHTS)
    upload.commit(Digest.of(WEIGHTS))
    upload.cancel()
    upload.close()
    assert get(depot, Digest.of(WEIGHTS)) == WEIGHTS


def test_a_mount_needs_a_source_that_holds_the_blob(depot: Depot) -> None:
    digest = put(depot, WEIGHTS)

    assert not depot.mount("acme/two", digest, "acme/three")
    assert depot.blob("acme/two", digest) is None
    assert depot.mount("acme/two", digest, "acme/tiny")
    assert get(depot, digest, "acme/two") == WEIGHTS


def test_a_manifest_needs_its_blobs_in_its_own_repository(depot: Depot) -> None:
    published(depot)
    put(depot, CONFIG, "acme/two")
    with pytest.raises(NotFoundError, match=str(Digest.of(WEIGHTS))):
        depot.publish("acme/two", model(WEIGHTS), "1")
    assert depot.manifest("acme/two", "1") is None
    assert tags(depot, "acme/two") == []


def test_an_index_needs_its_children(depot: Depot) -> None:
    child = published(depot, None)
    index = index_of(child)

    depot.publish("acme/tiny", index, "all")
    with pytest.raises(NotFoundError, match=str(child.digest)):
        depot.publish("acme/two", index, "all")

    assert same(depot.manifest("acme/tiny", "all"), index)


def test_an_index_needs_the_blobs_that_it_names(depot: Depot) -> None:
    """The caches of builds are such indexes, and were refused."""
    layer = describe(b"a cached layer", "application/vnd.oci.image.layer.v1.tar+gzip")
    cache = index_of(layer)
    with pytest.raises(NotFoundError, match=f"blob {layer.digest} is not in"):
        depot.publish("acme/tiny", cache, "cache")

    put(depot, b"a cached layer")
    depot.publish("acme/tiny", cache, "cache")

    assert same(depot.manifest("acme/tiny", "cache"), cache)


def test_a_manifest_keeps_its_exact_bytes(depot: Depot) -> None:
    manifest = published(depot)
    for reference in ("1", manifest.digest):
        found = depot.manifest("acme/tiny", reference)
        assert found is not None
        assert found.raw == manifest.raw
    assert depot.manifest("acme/tiny", "2") is None
    assert depot.manifest("acme/two", "1") is None


def test_a_tag_moves_at_once_and_the_old_manifest_stays_by_digest(depot: Depot) -> None:
    old = published(depot)
    new = model(WEIGHTS, WEIGHTS)
    depot.publish("acme/tiny", new, "1")
    assert same(depot.manifest("acme/tiny", "1"), new)
    assert same(depot.manifest("acme/tiny", old.digest), old)


def test_a_deleted_tag_leaves_its_manifest_and_other_tags(depot: Depot) -> None:
    manifest = published(depot)
    depot.publish("acme/tiny", manifest, "2")
    depot.delete_tag("acme/tiny", "1")
    assert tags(depot) == ["2"]
    assert same(depot.manifest("acme/tiny", manifest.digest), manifest)
    with pytest.raises(NotFoundError):
        depot.delete_tag("acme/tiny", "1")


def test_a_deleted_manifest_takes_its_tags_along(depot: Depot) -> None:
    manifest = published(depot)
    depot.publish("acme/tiny", manifest, "2")
    depot.delete_manifest("acme/tiny", manifest.digest)
    assert tags(depot) == []
    assert depot.manifest("acme/tiny", manifest.digest) is None
    with pytest.raises(NotFoundError):
        depot.delete_manifest("acme/tiny", manifest.digest)


def test_a_blob_that_a_manifest_names_cannot_be_deleted(depot: Depot) -> None:
    manifest = published(depot)
    digest = Digest.of(WEIGHTS)
    depot.mount("acme/two", digest, "acme/tiny")

    with pytest.raises(InvalidError, match="a manifest of acme/tiny needs this blob"):
        depot.delete_blob("acme/tiny", digest)
    depot.delete_blob("acme/two", digest)
    depot.delete_manifest("acme/tiny", manifest.digest)
    depot.delete_blob("acme/tiny", digest)

    assert depot.holders(digest) == []
    with pytest.raises(NotFoundError):
        depot.delete_blob("acme/tiny", digest)


def test_lists_come_in_pages(depot: Depot) -> None:
    manifest = published(depot)
    for tag in ("b", "a", "c"):
        depot.publish("acme/tiny", manifest, tag)
    assert tags(depot, limit=2) == ["1", "a"]
    assert tags(depot, after="a") == ["b", "c"]
    put(depot, b"x", "beta/one")
    put(depot, b"x", "acme/zwei")
    assert depot.repositories("", 2, lambda _: True) == ["acme/tiny", "acme/zwei"]
    assert depot.repositories("acme/tiny", 9, lambda _: True) == ["acme/zwei", "beta/one"]
    assert depot.repositories("", 9, lambda name: name.startswith("b")) == ["beta/one"]


def test_referrers_are_found_by_their_subject(depot: Depot) -> None:
    manifest = published(depot)
    referrer = model(WEIGHTS, subject=manifest.digest)
    depot.publish("acme/tiny", referrer, None)
    (found,) = depot.referrers("acme/tiny", manifest.digest, None, "", 9)
    assert found.digest == referrer.digest
    assert json.loads(found.descriptor) == {**referrer.descriptor().as_json(), "artifactType": DOCKER_CONFIG}
    assert depot.referrers("acme/tiny", referrer.digest, None, "", 9) == []
    assert depot.referrers("acme/two", manifest.digest, None, "", 9) == []


def test_referrers_come_in_pages_and_by_their_type(depot: Depot) -> None:
    manifest = published(depot)
    put(depot, b"more")
    made = [model(*layers, subject=manifest.digest) for layers in ((), (WEIGHTS,), (b"more",))]
    for each in made:
        depot.publish("acme/tiny", each, None)
    digests = sorted(str(each.digest) for each in made)
    pages = [
        depot.referrers("acme/tiny", manifest.digest, kind, after, limit)
        for kind, after, limit in ((None, "", 2), (None, digests[1], 2), (DOCKER_CONFIG, "", 9), ("x", "", 9))
    ]
    assert [[str(each.digest) for each in page] for page in pages] == [digests[:2], digests[2:], digests, []]


def test_of_large_referrers_no_more_are_read_than_fill_a_page(depot: Depot) -> None:
    manifest = published(depot)
    for number in range(4):
        fields = json.loads(model(WEIGHTS, subject=manifest.digest).raw)
        fields["annotations"] = {"note": str(number) + "x" * (PAGE_BYTES // 2)}
        depot.publish("acme/tiny", Manifest.parse(json.dumps(fields).encode()), None)
    first = depot.referrers("acme/tiny", manifest.digest, None, "", 9)
    rest = depot.referrers("acme/tiny", manifest.digest, None, str(first[0].digest), 9)
    assert [len(first), len(rest)] == [2, 2]
    assert first[1].digest == rest[0].digest


def test_a_manifest_says_the_sizes_its_blobs_have(depot: Depot) -> None:
    put(depot, CONFIG)
    put(depot, b"more")
    raw = model(b"more").raw.replace(b'"size":4', b'"size":5')
    with pytest.raises(InvalidError, match="has 4 bytes, not 5"):
        depot.publish("acme/tiny", Manifest.parse(raw), "1")
    assert tags(depot) == []


def test_a_manifest_that_an_index_needs_cannot_be_deleted(depot: Depot) -> None:
    child = published(depot, None)
    index = index_of(child)
    depot.publish("acme/tiny", index, "all")
    with pytest.raises(InvalidError, match="needs this manifest"):
        depot.delete_manifest("acme/tiny", child.digest)
    depot.delete_manifest("acme/tiny", index.digest)
    depot.delete_manifest("acme/tiny", child.digest)
    assert tags(depot) == []


def test_a_tag_says_who_moved_it(depot: Depot) -> None:
    manifest = published(depot)
    depot.publish("acme/tiny", model(WEIGHTS, WEIGHTS), "2", Actor("ada", "her key"))
    assert [(each.tag, each.moved_by) for each in depot.tags("acme/tiny", "", 9)] == [("1", ""), ("2", "ada")]
    depot.publish("acme/tiny", manifest, "2", Actor("ben"))
    assert [each.moved_by for each in depot.tags("acme/tiny", "1", 9)] == ["ben"]


def test_what_was_pushed_is_there_after_a_restart(tmp_path: Path) -> None:
    first = on_disk(tmp_path)
    manifest = published(first)
    upload = first.begin("acme/tiny")
    upload.write(b"12345")
    upload.close()
    first.engine.dispose()

    second = on_disk(tmp_path)

    assert same(second.manifest("acme/tiny", "1"), manifest)
    assert get(second, Digest.of(WEIGHTS)) == WEIGHTS
    again = second.upload("acme/tiny", upload.id)
    again.write(b"678")
    again.commit(Digest.of(b"12345678"))
    again.close()
    assert get(second, Digest.of(b"12345678")) == b"12345678"
    second.engine.dispose()
