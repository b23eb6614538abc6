"""A client that was told that a blob is there may take days to the manifest that names it."""

from __future__ import annotations

import os

from reclaim_kit import ORPHAN, WEEK, Kit
from test_depot_contract import CONFIG, WEIGHTS, get, model, published, put

from registry.model.digests import Digest
from registry.server.manifests import DAY
from registry.server.reclaim import Terms


def test_what_a_manifest_held_is_in_use_until_the_grace_has_passed(kit: Kit) -> None:
    manifest = published(kit.depot)
    kit.now += 2 * DAY
    kit.depot.delete_manifest("acme/tiny", manifest.digest)
    kit.collect()
    kit.depot.publish("acme/tiny", manifest, "1")
    assert get(kit.depot, Digest.of(WEIGHTS)) == WEIGHTS


def test_a_writers_question_renews_what_it_is_told_to_be_there(kit: Kit) -> None:
    digest = put(kit.depot, ORPHAN)
    put(kit.depot, WEIGHTS, "acme/two")
    kit.now += 0.9 * DAY
    assert kit.depot.blob("acme/tiny", digest, renew=True) is not None
    assert kit.depot.blob("acme/two", Digest.of(WEIGHTS)) is not None
    kit.now += 0.2 * DAY
    kit.collect()
    assert kit.depot.blob("acme/tiny", digest, renew=True) is not None
    assert kit.depot.blob("acme/two", Digest.of(WEIGHTS)) is None
    kit.now += 2 * DAY
    kit.collect()
    assert kit.depot.blob("acme/tiny", digest, renew=True) is None


def test_a_mount_and_a_second_push_renew_too(kit: Kit) -> None:
    digest = put(kit.depot, ORPHAN)
    kit.depot.mount("acme/two", digest, "acme/tiny")
    kit.now += 0.9 * DAY
    put(kit.depot, ORPHAN)
    kit.depot.mount("acme/two", digest, "acme/tiny")
    kit.now += 0.9 * DAY
    kit.collect()
    assert kit.depot.holders(digest) == ["acme/tiny", "acme/two"]


def grown(kit: Kit, session: str) -> None:
    """A byte more came, now."""
    upload = kit.depot.upload("acme/tiny", session)
    upload.write(b"x")
    upload.close()
    os.utime(kit.directory / "uploads" / session, (kit.now, kit.now))


def test_a_push_that_takes_days_finds_its_first_blob_when_it_comes_to_the_manifest(kit: Kit) -> None:
    put(kit.depot, CONFIG)
    put(kit.depot, WEIGHTS)
    session = kit.begin(b"")  # a blob of two days
    for _ in range(4):
        kit.now += 0.5 * DAY
        grown(kit, session)
        for terms in (Terms.asked(), Terms.asked(0.0, 1.0)):
            done = kit.collect(terms)
            assert done.blobs == done.uploads == 0
            assert done.until is not None
            assert done.until > kit.now
    upload = kit.depot.upload("acme/tiny", session)
    upload.commit(Digest.of(b"xxxx"))
    upload.close()
    kit.collect()
    kit.depot.publish("acme/tiny", model(WEIGHTS, b"xxxx"), "1")


def test_what_a_repository_that_is_pushed_to_every_day_does_not_need_goes_after_a_week(kit: Kit) -> None:
    put(kit.depot, ORPHAN)
    for day in range(7):
        kit.now += DAY - 1
        put(kit.depot, b"%d" % day)
        done = kit.collect()
        assert done.until is not None
        assert done.blobs == 0
    kit.now += 8
    assert kit.collect().blobs == 1
    kit.now += WEEK
    kit.collect()
    kit.now += WEEK
    assert kit.collect().waiting == 0


def test_beside_pushes_nothing_of_the_last_hour_goes_and_without_a_server_everything_may(kit: Kit) -> None:
    child = published(kit.depot, None)
    put(kit.depot, ORPHAN, "acme/two")
    kit.now += 3000
    kit.begin(b"half")
    assert kit.depot.blob("acme/two", Digest.of(ORPHAN), renew=True) is not None
    kit.now += 900
    assert kit.collect(Terms.asked(0.0, 1.0)).trashed == 0  # its manifest is on the way
    assert kit.depot.blob("acme/two", Digest.of(ORPHAN)) is not None
    assert kit.depot.manifest("acme/tiny", child.digest) is not None  # and to the index
    done = kit.collect(Terms.asked(0.0, 1.0, served=False))
    assert (done.manifests, done.trashed, done.uploads) == (1, len(ORPHAN), 1)
