"""What every depot promises: the one on disk and the one in memory pass the same suite."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from depots import on_disk

from registry.contracts import Depot
from registry.disk import files
from registry.errors import CorruptError, InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, OCI_INDEX, Descriptor, Manifest, image
from registry.model.spans import FileSpan

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
    if isinstance(blob.content, FileSpan):
        return b"".join(files.read_span(blob.content))
    return blob.content


def model(*layers: bytes, subject: Digest | None = None) -> Manifest:
    config = Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG))
    manifest = image(config, [Descriptor("x/y", Digest.of(each), len(each)).as_json() for each in layers])
    if subject is None:
        return manifest
    document = json.loads(manifest.raw)
    document["subject"] = {"mediaType": manifest.media_type, "digest": str(subject), "size": 7}
    return Manifest.parse(json.dumps(document).encode())


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
    assert depot.manifest("ACME/tiny", "1") == manifest
    assert get(depot, Digest.of(WEIGHTS), "aCmE/tInY") == WEIGHTS
    assert depot.tags("acme/Tiny", "", 10) == ["1"]


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
    assert depot.tags("acme/two", "", 10) == []


def test_an_index_needs_its_children(depot: Depot) -> None:
    child = published(depot, None)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.descriptor().as_json()]}
    index = Manifest.parse(json.dumps(document).encode())

    depot.publish("acme/tiny", index, "all")
    with pytest.raises(NotFoundError, match=str(child.digest)):
        depot.publish("acme/two", index, "all")

    assert depot.manifest("acme/tiny", "all") == index


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
    assert depot.manifest("acme/tiny", "1") == new
    assert depot.manifest("acme/tiny", old.digest) == old


def test_a_deleted_tag_leaves_its_manifest_and_other_tags(depot: Depot) -> None:
    manifest = published(depot)
    depot.publish("acme/tiny", manifest, "2")
    depot.delete_tag("acme/tiny", "1")
    assert depot.tags("acme/tiny", "", 10) == ["2"]
    assert depot.manifest("acme/tiny", manifest.digest) == manifest
    with pytest.raises(NotFoundError):
        depot.delete_tag("acme/tiny", "1")


def test_a_deleted_manifest_takes_its_tags_along(depot: Depot) -> None:
    manifest = published(depot)
    depot.publish("acme/tiny", manifest, "2")
    depot.delete_manifest("acme/tiny", manifest.digest)
    assert depot.tags("acme/tiny", "", 10) == []
    assert depot.manifest("acme/tiny", manifest.digest) is None
    with pytest.raises(NotFoundError):
        depot.delete_manifest("acme/tiny", manifest.digest)


def test_a_blob_that_a_manifest_names_cannot_be_deleted(depot: Depot) -> None:
    manifest = published(depot)
    digest = Digest.of(WEIGHTS)
    depot.mount("acme/two", digest, "acme/tiny")

    with pytest.raises(InvalidError, match=str(manifest.digest)):
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
    assert depot.tags("acme/tiny", "", 2) == ["1", "a"]
    assert depot.tags("acme/tiny", "a", 9) == ["b", "c"]
    put(depot, b"x", "beta/one")
    put(depot, b"x", "acme/zwei")
    assert depot.repositories("", 2, lambda _: True) == ["acme/tiny", "acme/zwei"]
    assert depot.repositories("acme/tiny", 9, lambda _: True) == ["acme/zwei", "beta/one"]
    assert depot.repositories("", 9, lambda name: name.startswith("b")) == ["beta/one"]


def test_referrers_are_found_by_their_subject(depot: Depot) -> None:
    manifest = published(depot)
    referrer = model(WEIGHTS, subject=manifest.digest)
    depot.publish("acme/tiny", referrer, None)
    assert depot.referrers("acme/tiny", manifest.digest) == [referrer]
    assert depot.referrers("acme/tiny", referrer.digest) == []
    assert depot.referrers("acme/two", manifest.digest) == []


def test_what_was_pushed_is_there_after_a_restart(tmp_path: Path) -> None:
    first = on_disk(tmp_path)
    manifest = published(first)
    upload = first.begin("acme/tiny")
    upload.write(b"12345")
    upload.close()
    first.engine.dispose()

    second = on_disk(tmp_path)

    assert second.manifest("acme/tiny", "1") == manifest
    assert get(second, Digest.of(WEIGHTS)) == WEIGHTS
    again = second.upload("acme/tiny", upload.id)
    again.write(b"678")
    again.commit(Digest.of(b"12345678"))
    again.close()
    assert get(second, Digest.of(b"12345678")) == b"12345678"
    second.engine.dispose()


def test_collecting_takes_only_what_nobody_needs_and_is_old(tmp_path: Path) -> None:
    now = [1000.0]
    depot = on_disk(tmp_path, lambda: now[0])
    published(depot)
    orphan = put(depot, b"nobody names me")
    upload = depot.begin("acme/tiny")
    upload.write(b"half")
    upload.close()
    os.utime(tmp_path / "uploads" / upload.id, (1000, 1000))

    now[0] += 3600
    fresh = put(depot, b"just arrived")
    assert depot.collect(grace=7200) == 0
    assert depot.collect(grace=1800) == len(b"nobody names me") + len(b"half")

    assert get(depot, Digest.of(WEIGHTS)) == WEIGHTS
    assert get(depot, fresh) == b"just arrived"
    assert depot.blob("acme/tiny", orphan) is None
    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", upload.id)
    assert sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()) == sorted(
        digest.hex for digest in (Digest.of(WEIGHTS), Digest.of(CONFIG), fresh)
    )
    depot.engine.dispose()


def test_an_upload_that_still_grows_is_not_collected(tmp_path: Path) -> None:
    now = [1000.0]
    depot = on_disk(tmp_path, lambda: now[0])
    upload = depot.begin("acme/tiny")
    upload.write(b"slow")
    upload.close()
    os.utime(tmp_path / "uploads" / upload.id, (4000, 4000))

    now[0] += 3600

    assert depot.collect(grace=1800) == 0
    assert depot.upload("acme/tiny", upload.id).received == 4
    depot.engine.dispose()


def test_files_that_a_crash_left_are_collected(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    kept = put(depot, WEIGHTS)
    stray = Digest.of(b"stray")
    blob = tmp_path / "blobs" / "sha256" / stray.hex[:2] / stray.hex
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"stray")
    (tmp_path / "uploads" / "forgotten").write_bytes(b"forgotten")

    assert depot.collect() == len(b"stray") + len(b"forgotten")

    assert not blob.exists()
    assert not list((tmp_path / "uploads").iterdir())
    assert get(depot, kept) == WEIGHTS
    depot.engine.dispose()


def test_a_blob_thrown_away_by_a_crash_comes_back(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    digest = put(depot, WEIGHTS)
    depot.engine.dispose()
    trash = tmp_path / "trash"
    trash.mkdir()
    (tmp_path / "blobs" / "sha256" / digest.hex[:2] / digest.hex).rename(trash / f"sha256-{digest.hex}")

    again = on_disk(tmp_path)

    assert get(again, digest) == WEIGHTS
    assert not list(trash.iterdir())
    again.engine.dispose()
