"""What is reclaimed was named once, is named no more, is old enough, and lies in a trash for a week."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from reclaim_kit import ORPHAN, WEEK, Kit
from sample_models import index_of
from sqlalchemy import select
from test_depot_contract import CONFIG, WEIGHTS, get, model, published, put, tags

from registry.contracts import Actor
from registry.disk import files
from registry.errors import NotFoundError
from registry.model.digests import Digest
from registry.server import reclaim
from registry.server.accounts import Accounts
from registry.server.audit import entries
from registry.server.immutable import ImmutableTags
from registry.server.issuers import Issuer
from registry.server.manifests import DAY
from registry.server.organisations import Organisations
from registry.server.principal import Right
from registry.server.publishers import Publishers
from registry.server.reclaim import Reclaim, Reclaimed, Terms
from registry.server.services import Services
from registry.server.tables import LINKS, NAMESPACES, REPOSITORIES

GITHUB = "https://token.actions.githubusercontent.com"


def test_a_manifest_without_a_tag_that_is_pushed_again_is_kept_as_if_it_were_new(kit: Kit) -> None:
    manifest = published(kit.depot, tag=None)
    kit.now += 29 * DAY
    kit.depot.publish("acme/tiny", manifest, None)
    kit.now += 29 * DAY
    assert kit.collect().manifests == 0
    kit.now += 2 * DAY
    assert kit.collect().manifests == 1


@pytest.mark.parametrize("how", ["push", "mount"])
def test_a_blob_that_is_brought_again_is_as_fresh_as_a_new_one(kit: Kit, how: str) -> None:
    digest = put(kit.depot, ORPHAN)
    put(kit.depot, ORPHAN, "acme/two")
    kit.now += DAY - 1
    if how == "push":
        put(kit.depot, ORPHAN)
    else:
        assert kit.depot.mount("acme/tiny", digest, "acme/two")

    with kit.depot.engine.connect() as database:
        link = select(LINKS.c.since).join(REPOSITORIES).where(REPOSITORIES.c.name == "acme/tiny")
        assert database.execute(link).scalars().all() == [kit.now]


def test_only_what_nobody_needs_and_is_old_goes_and_only_into_the_trash(kit: Kit) -> None:
    published(kit.depot)
    orphan = put(kit.depot, ORPHAN)
    session = kit.begin(b"half")
    kit.now += DAY + 1
    fresh = put(kit.depot, b"just arrived", "acme/two")

    done = kit.collect()

    assert (done.freed, done.trashed, done.blobs, done.uploads) == (4, len(ORPHAN), 1, 1)
    assert get(kit.depot, Digest.of(WEIGHTS)) == WEIGHTS
    assert get(kit.depot, fresh, "acme/two") == b"just arrived"
    assert kit.depot.blob("acme/tiny", orphan) is None
    assert kit.trashed(orphan).read_bytes() == ORPHAN
    with pytest.raises(NotFoundError):
        kit.depot.upload("acme/tiny", session)
    kit.now += WEEK
    assert kit.collect().freed == len(ORPHAN)
    assert not kit.trashed(orphan).exists()
    assert tags(kit.depot) == ["1"]


def test_an_upload_that_nobody_goes_on_with_waits_too(kit: Kit) -> None:
    kit.begin(b"half")
    kit.now += 60
    waits = Reclaimed(waiting=4, until=kit.now - 60 + DAY)
    assert kit.collect() == Reclaim(kit.depot).preview() == waits
    kit.now += DAY
    would = Reclaim(kit.depot).preview()
    assert (would.freed, would.waiting, would.until) == (4, 0, None)
    assert kit.collect() == Reclaimed(freed=4, uploads=1)


def test_it_says_what_waits_and_until_when(kit: Kit) -> None:
    put(kit.depot, ORPHAN)
    began = kit.now
    waits = Reclaimed(waiting=len(ORPHAN), until=began + DAY + WEEK)
    assert kit.collect() == waits
    kit.now += DAY + 1
    done = kit.collect()
    assert (done.waiting, done.until) == (len(ORPHAN), kit.now + WEEK)
    kit.now += WEEK
    assert kit.collect() == Reclaimed(freed=len(ORPHAN))


def test_a_preview_says_the_same_and_does_nothing(kit: Kit) -> None:
    published(kit.depot)
    kit.depot.publish("acme/tiny", model(), "1")
    put(kit.depot, ORPHAN)
    kit.begin(b"half")
    kit.now += 31 * DAY

    would = Reclaim(kit.depot).preview()
    before = sorted(kit.directory.rglob("*"))
    done = kit.collect()

    assert (would.freed, would.trashed, would.blobs, would.manifests, would.uploads) == (
        done.freed,
        done.trashed,
        done.blobs,
        done.manifests,
        done.uploads,
    )
    assert done.manifests == 1
    assert would.untagged == done.untagged == 0
    assert would.waiting == done.waiting > len(ORPHAN)  # with what only the manifest named
    assert would.until == done.until == kit.now + DAY + WEEK  # and not 31 days ago
    assert before != sorted(kit.directory.rglob("*"))


def test_it_says_how_many_manifests_without_a_tag_stay(kit: Kit) -> None:
    published(kit.depot)
    kit.depot.publish("acme/tiny", model(), "1")
    kit.now += DAY
    assert kit.collect().untagged == Reclaim(kit.depot).preview().untagged == 1


def test_older_than_is_said_of_the_trash_too(kit: Kit) -> None:
    put(kit.depot, ORPHAN)
    kit.now += 7200
    done = kit.collect(Terms.asked(5400.0))
    assert done.trashed == len(ORPHAN)
    kit.now += 5400
    assert kit.collect(Terms.asked(5400.0)).freed == len(ORPHAN)


def test_an_upload_that_still_grows_is_not_collected(kit: Kit) -> None:
    session = kit.begin(b"slow")
    kit.now += DAY + 1
    os.utime(kit.directory / "uploads" / session, (kit.now - 60, kit.now - 60))
    assert kit.collect().uploads == 0
    assert kit.depot.upload("acme/tiny", session).received == 4


def test_files_of_forgotten_uploads_go_by_age(kit: Kit) -> None:
    kit.begin(b"")
    for name, age in (("old", DAY + 1), ("young", 60.0)):
        path = kit.directory / "uploads" / name
        path.write_bytes(b"forgotten")
        os.utime(path, (kit.now - age, kit.now - age))
    assert kit.collect().freed == len(b"forgotten")
    assert not (kit.directory / "uploads" / "old").exists()
    assert (kit.directory / "uploads" / "young").exists()


# --- files the catalogue never named ------------------------------------------------------------------------


def test_files_that_no_list_knows_are_shown_and_never_deleted(kit: Kit) -> None:
    published(kit.depot)
    stray = Digest.of(b"stray")
    kit.path(stray).parent.mkdir(parents=True, exist_ok=True)
    kit.path(stray).write_bytes(b"stray")
    (kit.directory / "blobs" / "sha256" / "notes").mkdir()
    (kit.directory / "blobs" / "sha256" / "notes" / "readme.txt").write_bytes(b"a person's")
    kit.now += 400 * DAY

    for _ in range(2):
        kit.collect()
        kit.now += WEEK + 1

    assert kit.path(stray).read_bytes() == b"stray"
    assert [each.digest for each in Reclaim(kit.depot).strays()] == [stray]
    assert (kit.directory / "blobs" / "sha256" / "notes" / "readme.txt").exists()


def test_a_push_of_the_same_bytes_adopts_a_file_and_replaces_what_was_wrong_in_it(kit: Kit) -> None:
    stray = Digest.of(WEIGHTS)
    kit.path(stray).parent.mkdir(parents=True, exist_ok=True)
    kit.path(stray).write_bytes(b"damaged")
    assert kit.depot.blob("acme/tiny", stray) is None
    put(kit.depot, WEIGHTS)
    assert get(kit.depot, stray) == WEIGHTS
    assert Reclaim(kit.depot).strays() == []


# --- the trash ----------------------------------------------------------------------------------------------


def test_what_is_thrown_away_comes_back_when_it_is_asked_for(kit: Kit) -> None:
    """A collector was killed, or met a push of the same bytes; or an older database came back."""
    digest = put(kit.depot, WEIGHTS)
    kit.depot.blobs.throw_away(digest, kit.now)
    assert not kit.path(digest).exists()
    assert get(kit.depot, digest) == WEIGHTS
    assert kit.path(digest).exists()


def test_a_blob_that_is_in_use_again_is_not_deleted_out_of_the_trash(kit: Kit) -> None:
    digest = put(kit.depot, WEIGHTS)
    kit.depot.blobs.throw_away(digest, kit.now)
    kit.now += WEEK + 1
    put(kit.depot, CONFIG)
    kit.depot.publish("acme/tiny", model(WEIGHTS), "1")
    assert kit.collect().freed == 0
    assert get(kit.depot, digest) == WEIGHTS


def test_a_push_beside_a_collector_that_throws_the_same_bytes_away_loses_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector has dropped the row, the push names the bytes, the collector throws them away."""
    digest = put(kit.depot, ORPHAN)
    kit.now += DAY + 1
    throw_away = type(kit.depot.blobs).throw_away

    def meanwhile(_self: object, thrown: Digest, now: float) -> int:
        monkeypatch.undo()
        put(kit.depot, ORPHAN)
        return throw_away(kit.depot.blobs, thrown, now)

    monkeypatch.setattr(type(kit.depot.blobs), "throw_away", meanwhile)
    kit.collect()

    assert get(kit.depot, digest) == ORPHAN
    kit.now += WEEK + 1
    kit.depot.blob("acme/tiny", digest, renew=True)
    kit.collect()
    assert get(kit.depot, digest) == ORPHAN


# --- manifests without a tag --------------------------------------------------------------------------------


def test_an_overwritten_manifest_goes_a_month_after_its_last_pull(kit: Kit) -> None:
    old = published(kit.depot)
    put(kit.depot, b"new")
    kit.depot.publish("acme/tiny", model(b"new"), "1")
    kit.now += 20 * DAY
    assert kit.depot.manifest("acme/tiny", old.digest) is not None  # who pins it by digest
    kit.collect()
    kit.now += 20 * DAY
    assert kit.collect().manifests == 0
    kit.now += 11 * DAY
    assert kit.collect().manifests == 1
    assert kit.depot.manifest("acme/tiny", old.digest) is None
    assert get(kit.depot, Digest.of(WEIGHTS)) == WEIGHTS  # for another grace
    kit.now += DAY + 1
    assert kit.collect().trashed == len(WEIGHTS)
    assert tags(kit.depot) == ["1"]


def test_a_tag_that_is_taken_away_begins_the_month_anew(kit: Kit) -> None:
    for overwritten in (True, False):
        old = published(kit.depot)
        kit.now += 400 * DAY
        kit.collect()
        if overwritten:
            kit.depot.publish("acme/tiny", model(), "1")
        else:
            kit.depot.delete_tag("acme/tiny", "1")
        kit.now += 29 * DAY
        kit.collect()
        assert kit.depot.manifest("acme/tiny", old.digest) is not None


def test_what_an_index_or_a_subject_needs_stays(kit: Kit) -> None:
    child = published(kit.depot, None)
    kit.depot.publish("acme/tiny", index_of(child), "all")
    signature = model(subject=child.digest)
    kit.depot.publish("acme/tiny", signature, None)
    kit.now += 400 * DAY
    assert kit.collect().manifests == 0
    kit.depot.delete_tag("acme/tiny", "all")
    for _ in range(3):  # the index, then its child, then what speaks of that
        kit.now += 31 * DAY
        kit.collect()
    assert kit.depot.manifest("acme/tiny", signature.digest) is None
    assert kit.depot.manifest("acme/tiny", child.digest) is None


def test_they_may_be_kept_for_ever(kit: Kit) -> None:
    old = published(kit.depot, None)
    kit.now += 4000 * DAY
    assert kit.collect(Terms(untagged=None)).manifests == 0
    assert kit.depot.manifest("acme/tiny", old.digest) is not None


def test_a_repository_that_holds_nothing_leaves_the_catalogue(kit: Kit) -> None:
    put(kit.depot, ORPHAN)
    assert kit.depot.exists("acme/tiny")
    kit.now += DAY + 1
    kit.collect()
    assert not kit.depot.exists("acme/tiny")
    put(kit.depot, ORPHAN)
    assert kit.depot.exists("acme/tiny")


def test_a_namespace_in_which_nothing_is_published_yet_keeps_all_that_was_said_of_it(kit: Kit) -> None:
    engine, clock, ids = kit.depot.engine, kit.depot.clock, kit.depot.new_id
    organisations, services = Organisations(engine, clock), Services(engine, clock, ids)
    immutable, publishers = ImmutableTags(engine, clock), Publishers(engine, clock, ids)
    Accounts(engine, clock, ids).add_user("ada")
    organisations.add("team")
    services.add("jobs/ci", Right.WRITE)
    immutable.add("later/model", "v*")
    claims = {"repository": "acme/ml", "repository_owner_id": "65"}
    publishers.add("soon/model", Issuer(GITHUB), claims, new_issuer=True)

    kit.now += 90 * DAY
    kit.collect()

    with engine.connect() as database:
        owned = select(NAMESPACES.c.name).where(NAMESPACES.c.owner.is_not(None))
        assert database.execute(owned).scalars().all() == ["ada"]
    assert [each.name for each in organisations.all()] == ["team"]
    assert [each.name for each in services.listed()] == ["jobs/ci"]
    assert [each.scope for each in immutable.listed()] == ["later/model"]
    assert [each.repository for each in publishers.listed()] == ["soon/model"]


# --- beside others ------------------------------------------------------------------------------------------


def test_a_manifest_that_gets_a_tag_after_it_was_found_without_one_stays(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = published(kit.depot, tag=None)
    kit.now += 31 * DAY
    attempt = Reclaim._attempt

    def late(self: Reclaim, step: Callable[[], int]) -> int:
        kit.depot.publish("acme/tiny", manifest, "late")
        return attempt(self, step)

    monkeypatch.setattr(Reclaim, "_attempt", late)
    assert kit.collect().manifests == 0
    assert tags(kit.depot) == ["late"]


def test_no_file_is_looked_at_inside_a_transaction(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    published(kit.depot)
    for number in range(3):
        put(kit.depot, b"%d" % number)
    kit.begin(b"half")
    kit.now += 31 * DAY
    looked = 0

    def free(call: object) -> object:
        def wrapped(*arguments: object, **more: object) -> object:
            nonlocal looked
            looked += 1
            pool = kit.depot.engine.pool
            assert pool.checkedout() == 0, "a connection is in use"  # type: ignore[attr-defined]
            return call(*arguments, **more)  # type: ignore[operator]

        return wrapped

    for name in ("status", "names", "move", "remove"):
        monkeypatch.setattr(files, name, free(getattr(files, name)))
    kit.collect()
    assert looked > 6


def test_large_lots_go_in_small_transactions(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "AT_ONCE", 2)
    for number in range(5):
        put(kit.depot, b"%d" % number)
    kit.now += DAY + 1
    assert kit.collect().blobs == 5


def test_it_is_written_down(kit: Kit) -> None:
    put(kit.depot, ORPHAN)
    kit.collect()
    kit.now += DAY + 1
    Reclaim(kit.depot, actor=Actor("ada")).run()
    (entry,) = entries(kit.depot.engine)
    assert (entry.user, entry.action) == ("ada", "gc")
    assert entry.subject == "0 manifests, 1 blobs, 15 bytes to the trash, 0 freed"
