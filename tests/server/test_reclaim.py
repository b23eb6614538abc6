"""What is reclaimed was named once, is named no more, is old enough, and lies in a trash for a week."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select
from test_depot_contract import CONFIG, WEIGHTS, get, index_of, model, published, put, tags
from yards import ORPHAN, WEEK, Yard

from registry.contracts import Actor
from registry.disk import files
from registry.errors import NotFoundError
from registry.model.digests import Digest
from registry.server import reclaim
from registry.server.audit import entries
from registry.server.immutable import ImmutableTags
from registry.server.issuers import Issuer
from registry.server.manifests import DAY
from registry.server.organisations import Organisations
from registry.server.principal import Right
from registry.server.publishers import Publishers
from registry.server.reclaim import Reclaim, Reclaimed, Terms
from registry.server.services import Services
from registry.server.tables import LINKS, REPOSITORIES

GITHUB = "https://token.actions.githubusercontent.com"


def test_a_manifest_without_a_tag_that_is_pushed_again_is_kept_as_if_it_were_new(yard: Yard) -> None:
    manifest = published(yard.depot, tag=None)
    yard.now += 29 * DAY
    yard.depot.publish("acme/tiny", manifest, None)
    yard.now += 29 * DAY
    assert yard.collect().manifests == 0
    yard.now += 2 * DAY
    assert yard.collect().manifests == 1


@pytest.mark.parametrize("how", ["push", "mount"])
def test_a_blob_that_is_brought_again_is_as_fresh_as_a_new_one(yard: Yard, how: str) -> None:
    digest = put(yard.depot, ORPHAN)
    put(yard.depot, ORPHAN, "acme/two")
    yard.now += DAY - 1
    if how == "push":
        put(yard.depot, ORPHAN)
    else:
        assert yard.depot.mount("acme/tiny", digest, "acme/two")

    with yard.depot.engine.connect() as database:
        link = select(LINKS.c.since).join(REPOSITORIES).where(REPOSITORIES.c.name == "acme/tiny")
        assert database.execute(link).scalars().all() == [yard.now]


def test_only_what_nobody_needs_and_is_old_goes_and_only_into_the_trash(yard: Yard) -> None:
    published(yard.depot)
    orphan = put(yard.depot, ORPHAN)
    session = yard.begin(b"half")
    yard.now += DAY + 1
    fresh = put(yard.depot, b"just arrived", "acme/two")

    done = yard.collect()

    assert (done.freed, done.trashed, done.blobs, done.uploads) == (4, len(ORPHAN), 1, 1)
    assert get(yard.depot, Digest.of(WEIGHTS)) == WEIGHTS
    assert get(yard.depot, fresh, "acme/two") == b"just arrived"
    assert yard.depot.blob("acme/tiny", orphan) is None
    assert yard.trashed(orphan).read_bytes() == ORPHAN
    with pytest.raises(NotFoundError):
        yard.depot.upload("acme/tiny", session)
    yard.now += WEEK
    assert yard.collect().freed == len(ORPHAN)
    assert not yard.trashed(orphan).exists()
    assert tags(yard.depot) == ["1"]


def test_an_upload_that_nobody_goes_on_with_waits_too(yard: Yard) -> None:
    yard.begin(b"half")
    yard.now += 60
    waits = Reclaimed(waiting=4, until=yard.now - 60 + DAY)
    assert yard.collect() == Reclaim(yard.depot).preview() == waits
    yard.now += DAY
    would = Reclaim(yard.depot).preview()
    assert (would.freed, would.waiting, would.until) == (4, 0, None)
    assert yard.collect() == Reclaimed(freed=4, uploads=1)


def test_it_says_what_waits_and_until_when(yard: Yard) -> None:
    put(yard.depot, ORPHAN)
    began = yard.now
    waits = Reclaimed(waiting=len(ORPHAN), until=began + DAY + WEEK)
    assert yard.collect() == waits
    yard.now += DAY + 1
    done = yard.collect()
    assert (done.waiting, done.until) == (len(ORPHAN), yard.now + WEEK)
    yard.now += WEEK
    assert yard.collect() == Reclaimed(freed=len(ORPHAN))


def test_a_preview_says_the_same_and_does_nothing(yard: Yard) -> None:
    published(yard.depot)
    yard.depot.publish("acme/tiny", model(), "1")
    put(yard.depot, ORPHAN)
    yard.begin(b"half")
    yard.now += 31 * DAY

    would = Reclaim(yard.depot).preview()
    before = sorted(yard.directory.rglob("*"))
    done = yard.collect()

    assert (would.freed, would.trashed, would.blobs, would.manifests, would.uploads) == (
        done.freed,
        done.trashed,
        done.blobs,
        done.manifests,
        done.uploads,
    )
    assert done.manifests == 1
    assert before != sorted(yard.directory.rglob("*"))


def test_older_than_is_said_of_the_trash_too(yard: Yard) -> None:
    put(yard.depot, ORPHAN)
    yard.now += 7200
    done = yard.collect(Terms.asked(5400.0))
    assert done.trashed == len(ORPHAN)
    yard.now += 5400
    assert yard.collect(Terms.asked(5400.0)).freed == len(ORPHAN)


def test_an_upload_that_still_grows_is_not_collected(yard: Yard) -> None:
    session = yard.begin(b"slow")
    yard.now += DAY + 1
    os.utime(yard.directory / "uploads" / session, (yard.now - 60, yard.now - 60))
    assert yard.collect().uploads == 0
    assert yard.depot.upload("acme/tiny", session).received == 4


def test_files_of_forgotten_uploads_go_by_age(yard: Yard) -> None:
    yard.begin(b"")
    for name, age in (("old", DAY + 1), ("young", 60.0)):
        path = yard.directory / "uploads" / name
        path.write_bytes(b"forgotten")
        os.utime(path, (yard.now - age, yard.now - age))
    assert yard.collect().freed == len(b"forgotten")
    assert not (yard.directory / "uploads" / "old").exists()
    assert (yard.directory / "uploads" / "young").exists()


# --- files the catalogue never named ------------------------------------------------------------------------


def test_files_that_no_list_knows_are_shown_and_never_deleted(yard: Yard) -> None:
    published(yard.depot)
    stray = Digest.of(b"stray")
    yard.path(stray).parent.mkdir(parents=True, exist_ok=True)
    yard.path(stray).write_bytes(b"stray")
    (yard.directory / "blobs" / "sha256" / "notes").mkdir()
    (yard.directory / "blobs" / "sha256" / "notes" / "readme.txt").write_bytes(b"a person's")
    yard.now += 400 * DAY

    for _ in range(2):
        yard.collect()
        yard.now += WEEK + 1

    assert yard.path(stray).read_bytes() == b"stray"
    assert [each.digest for each in Reclaim(yard.depot).strays()] == [stray]
    assert (yard.directory / "blobs" / "sha256" / "notes" / "readme.txt").exists()


def test_a_push_of_the_same_bytes_adopts_a_file_and_replaces_what_was_wrong_in_it(yard: Yard) -> None:
    stray = Digest.of(WEIGHTS)
    yard.path(stray).parent.mkdir(parents=True, exist_ok=True)
    yard.path(stray).write_bytes(b"damaged")
    assert yard.depot.blob("acme/tiny", stray) is None
    put(yard.depot, WEIGHTS)
    assert get(yard.depot, stray) == WEIGHTS
    assert Reclaim(yard.depot).strays() == []


# --- the trash ----------------------------------------------------------------------------------------------


def test_what_is_thrown_away_comes_back_when_it_is_asked_for(yard: Yard) -> None:
    """A collector was killed, or met a push of the same bytes; or an older database came back."""
    digest = put(yard.depot, WEIGHTS)
    yard.depot.blobs.throw_away(digest, yard.now)
    assert not yard.path(digest).exists()
    assert get(yard.depot, digest) == WEIGHTS
    assert yard.path(digest).exists()


def test_a_blob_that_is_in_use_again_is_not_deleted_out_of_the_trash(yard: Yard) -> None:
    digest = put(yard.depot, WEIGHTS)
    yard.depot.blobs.throw_away(digest, yard.now)
    yard.now += WEEK + 1
    put(yard.depot, CONFIG)
    yard.depot.publish("acme/tiny", model(WEIGHTS), "1")
    assert yard.collect().freed == 0
    assert get(yard.depot, digest) == WEIGHTS


def test_a_push_beside_a_collector_that_throws_the_same_bytes_away_loses_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector has dropped the row, the push names the bytes, the collector throws them away."""
    digest = put(yard.depot, ORPHAN)
    yard.now += DAY + 1
    throw_away = type(yard.depot.blobs).throw_away

    def meanwhile(_self: object, thrown: Digest, now: float) -> int:
        monkeypatch.undo()
        put(yard.depot, ORPHAN)
        return throw_away(yard.depot.blobs, thrown, now)

    monkeypatch.setattr(type(yard.depot.blobs), "throw_away", meanwhile)
    yard.collect()

    assert get(yard.depot, digest) == ORPHAN
    yard.now += WEEK + 1
    yard.depot.blob("acme/tiny", digest, renew=True)
    yard.collect()
    assert get(yard.depot, digest) == ORPHAN


# --- manifests without a tag --------------------------------------------------------------------------------


def test_an_overwritten_manifest_goes_a_month_after_its_last_pull(yard: Yard) -> None:
    old = published(yard.depot)
    put(yard.depot, b"new")
    yard.depot.publish("acme/tiny", model(b"new"), "1")
    yard.now += 20 * DAY
    assert yard.depot.manifest("acme/tiny", old.digest) is not None  # who pins it by digest
    yard.collect()
    yard.now += 20 * DAY
    assert yard.collect().manifests == 0
    yard.now += 11 * DAY
    assert yard.collect().manifests == 1
    assert yard.depot.manifest("acme/tiny", old.digest) is None
    assert get(yard.depot, Digest.of(WEIGHTS)) == WEIGHTS  # for another grace
    yard.now += DAY + 1
    assert yard.collect().trashed == len(WEIGHTS)
    assert tags(yard.depot) == ["1"]


def test_a_tag_that_is_taken_away_begins_the_month_anew(yard: Yard) -> None:
    for overwritten in (True, False):
        old = published(yard.depot)
        yard.now += 400 * DAY
        yard.collect()
        if overwritten:
            yard.depot.publish("acme/tiny", model(), "1")
        else:
            yard.depot.delete_tag("acme/tiny", "1")
        yard.now += 29 * DAY
        yard.collect()
        assert yard.depot.manifest("acme/tiny", old.digest) is not None


def test_what_an_index_or_a_subject_needs_stays(yard: Yard) -> None:
    child = published(yard.depot, None)
    yard.depot.publish("acme/tiny", index_of(child), "all")
    signature = model(subject=child.digest)
    yard.depot.publish("acme/tiny", signature, None)
    yard.now += 400 * DAY
    assert yard.collect().manifests == 0
    yard.depot.delete_tag("acme/tiny", "all")
    for _ in range(3):  # the index, then its child, then what speaks of that
        yard.now += 31 * DAY
        yard.collect()
    assert yard.depot.manifest("acme/tiny", signature.digest) is None
    assert yard.depot.manifest("acme/tiny", child.digest) is None


def test_they_may_be_kept_for_ever(yard: Yard) -> None:
    old = published(yard.depot, None)
    yard.now += 4000 * DAY
    assert yard.collect(Terms(untagged=None)).manifests == 0
    assert yard.depot.manifest("acme/tiny", old.digest) is not None


def test_a_repository_that_holds_nothing_leaves_the_catalogue(yard: Yard) -> None:
    put(yard.depot, ORPHAN)
    assert yard.depot.exists("acme/tiny")
    yard.now += DAY + 1
    yard.collect()
    assert not yard.depot.exists("acme/tiny")
    put(yard.depot, ORPHAN)
    assert yard.depot.exists("acme/tiny")


def test_a_namespace_in_which_nothing_is_published_yet_keeps_all_that_was_said_of_it(yard: Yard) -> None:
    engine, clock, ids = yard.depot.engine, yard.depot.clock, yard.depot.new_id
    organisations, services = Organisations(engine, clock), Services(engine, clock, ids)
    immutable, publishers = ImmutableTags(engine, clock), Publishers(engine, clock, ids)
    organisations.add("team")
    services.add("jobs/ci", Right.WRITE)
    immutable.add("later/model", "v*")
    claims = {"repository": "acme/ml", "repository_owner_id": "65"}
    publishers.add("soon/model", Issuer(GITHUB), claims, new_issuer=True)

    yard.now += 90 * DAY
    yard.collect()

    assert [each.name for each in organisations.all()] == ["team"]
    assert [each.name for each in services.listed()] == ["jobs/ci"]
    assert [each.scope for each in immutable.listed()] == ["later/model"]
    assert [each.repository for each in publishers.listed()] == ["soon/model"]


# --- beside others ------------------------------------------------------------------------------------------


def test_no_file_is_looked_at_inside_a_transaction(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    published(yard.depot)
    for number in range(3):
        put(yard.depot, b"%d" % number)
    yard.begin(b"half")
    yard.now += 31 * DAY
    looked = 0

    def free(call: object) -> object:
        def wrapped(*arguments: object, **more: object) -> object:
            nonlocal looked
            looked += 1
            pool = yard.depot.engine.pool
            assert pool.checkedout() == 0, "a connection is in use"  # type: ignore[attr-defined]
            return call(*arguments, **more)  # type: ignore[operator]

        return wrapped

    for name in ("status", "names", "move", "remove"):
        monkeypatch.setattr(files, name, free(getattr(files, name)))
    yard.collect()
    assert looked > 6


def test_large_lots_go_in_small_transactions(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "AT_ONCE", 2)
    for number in range(5):
        put(yard.depot, b"%d" % number)
    yard.now += DAY + 1
    assert yard.collect().blobs == 5


def test_it_is_written_down(yard: Yard) -> None:
    put(yard.depot, ORPHAN)
    yard.collect()
    yard.now += DAY + 1
    Reclaim(yard.depot, actor=Actor("ada")).run()
    (entry,) = entries(yard.depot.engine)
    assert (entry.user, entry.action) == ("ada", "gc")
    assert entry.subject == "0 manifests, 1 blobs, 15 bytes to the trash, 0 freed"
