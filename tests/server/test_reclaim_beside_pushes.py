"""A client that was told that a blob is there may take days to the manifest that names it."""

from __future__ import annotations

import os

from test_depot_contract import CONFIG, WEIGHTS, get, model, published, put
from yards import ORPHAN, WEEK, Yard

from registry.model.digests import Digest
from registry.server.manifests import DAY
from registry.server.reclaim import Terms


def test_what_a_manifest_held_is_in_use_until_the_grace_has_passed(yard: Yard) -> None:
    manifest = published(yard.depot)
    yard.now += 2 * DAY
    yard.depot.delete_manifest("acme/tiny", manifest.digest)
    yard.collect()
    yard.depot.publish("acme/tiny", manifest, "1")
    assert get(yard.depot, Digest.of(WEIGHTS)) == WEIGHTS


def test_a_writers_question_renews_what_it_is_told_to_be_there(yard: Yard) -> None:
    digest = put(yard.depot, ORPHAN)
    put(yard.depot, WEIGHTS, "acme/two")
    yard.now += 0.9 * DAY
    assert yard.depot.blob("acme/tiny", digest, renew=True) is not None
    assert yard.depot.blob("acme/two", Digest.of(WEIGHTS)) is not None
    yard.now += 0.2 * DAY
    yard.collect()
    assert yard.depot.blob("acme/tiny", digest, renew=True) is not None
    assert yard.depot.blob("acme/two", Digest.of(WEIGHTS)) is None
    yard.now += 2 * DAY
    yard.collect()
    assert yard.depot.blob("acme/tiny", digest, renew=True) is None


def test_a_mount_and_a_second_push_renew_too(yard: Yard) -> None:
    digest = put(yard.depot, ORPHAN)
    yard.depot.mount("acme/two", digest, "acme/tiny")
    yard.now += 0.9 * DAY
    put(yard.depot, ORPHAN)
    yard.depot.mount("acme/two", digest, "acme/tiny")
    yard.now += 0.9 * DAY
    yard.collect()
    assert yard.depot.holders(digest) == ["acme/tiny", "acme/two"]


def grown(yard: Yard, session: str) -> None:
    """A byte more came, now."""
    upload = yard.depot.upload("acme/tiny", session)
    upload.write(b"x")
    upload.close()
    os.utime(yard.directory / "uploads" / session, (yard.now, yard.now))


def test_a_push_that_takes_days_finds_its_first_blob_when_it_comes_to_the_manifest(yard: Yard) -> None:
    put(yard.depot, CONFIG)
    put(yard.depot, WEIGHTS)
    session = yard.begin(b"")  # a blob of two days
    for _ in range(4):
        yard.now += 0.5 * DAY
        grown(yard, session)
        for terms in (Terms.asked(), Terms.asked(0.0, 1.0)):
            done = yard.collect(terms)
            assert done.blobs == done.uploads == 0
            assert done.until is not None
            assert done.until > yard.now
    upload = yard.depot.upload("acme/tiny", session)
    upload.commit(Digest.of(b"xxxx"))
    upload.close()
    yard.collect()
    yard.depot.publish("acme/tiny", model(WEIGHTS, b"xxxx"), "1")


def test_what_a_repository_that_is_pushed_to_every_day_does_not_need_goes_after_a_week(yard: Yard) -> None:
    put(yard.depot, ORPHAN)
    for day in range(7):
        yard.now += DAY - 1
        put(yard.depot, b"%d" % day)
        done = yard.collect()
        assert done.until is not None
        assert done.blobs == 0
    yard.now += 8
    assert yard.collect().blobs == 1
    yard.now += WEEK
    yard.collect()
    yard.now += WEEK
    assert yard.collect().waiting == 0


def test_beside_pushes_nothing_of_the_last_hour_goes_and_without_a_server_everything_may(yard: Yard) -> None:
    child = published(yard.depot, None)
    put(yard.depot, ORPHAN, "acme/two")
    yard.now += 3000
    yard.begin(b"half")
    assert yard.depot.blob("acme/two", Digest.of(ORPHAN), renew=True) is not None
    yard.now += 900
    assert yard.collect(Terms.asked(0.0, 1.0)).trashed == 0  # its manifest is on the way
    assert yard.depot.blob("acme/two", Digest.of(ORPHAN)) is not None
    assert yard.depot.manifest("acme/tiny", child.digest) is not None  # and to the index
    done = yard.collect(Terms.asked(0.0, 1.0, served=False))
    assert (done.manifests, done.trashed, done.uploads) == (1, len(ORPHAN), 1)
