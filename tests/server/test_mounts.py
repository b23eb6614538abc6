"""A mount takes a blob from where one may read, and tells nothing of anywhere else."""

from __future__ import annotations

import pytest
from guarded import Door, key

from registry.contracts import Depot
from registry.model.digests import Digest
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right

BOB = key(2)
DATA = b"blob"
BLOB = Digest.of(DATA)


def held_by(*repositories: str) -> Depot:
    """A depot in which these repositories hold the blob."""
    depot = MemoryDepot()
    for repository in repositories:
        upload = depot.begin(repository)
        upload.write(DATA)
        upload.commit(BLOB)
        upload.close()
    return depot


def door(*repositories: str) -> Door:
    opened = Door(depot=lambda _: held_by(*repositories))
    opened.join("alice", key(1))
    opened.join("bob", BOB)
    return opened


def mount(door: Door, query: str) -> int:
    """What bob is answered, who pushes to his own repository with `query`."""
    token = door.token(BOB, "repository:bob/x:push")
    return door.ask("POST", f"/v2/bob/x/blobs/uploads/?{query}", token=token).status


def test_a_mount_from_a_readable_repository_is_done() -> None:
    opened = door("alice/tiny")
    opened.rights.grant("bob", "alice", Right.READ)
    assert mount(opened, f"mount={BLOB}&from=alice/tiny") == 201


@pytest.mark.parametrize("source", ["alice/tiny", "missing/one", "library/ad.gguf", "../x", "", "a/" * 4000])
def test_a_mount_from_elsewhere_becomes_an_ordinary_upload(source: str) -> None:
    assert mount(door("alice/tiny"), f"mount={BLOB}&from={source}") == 202


def test_a_mount_without_a_source_finds_a_readable_one() -> None:
    assert mount(door("alice/tiny", "bob/y"), f"mount={BLOB}") == 201


def test_a_mount_without_a_source_finds_none_that_may_not_be_read() -> None:
    assert mount(door("alice/tiny"), f"mount={BLOB}") == 202


def test_several_sources_are_taken_for_the_first_only() -> None:
    opened = door("alice/tiny", "bob/y")
    assert mount(opened, f"mount={BLOB}&from=alice/tiny&from=bob/y") == 202
    assert mount(opened, f"mount={BLOB}&from=bob/y&from=alice/tiny") == 201


def test_a_mount_cannot_tell_whether_somebody_has_a_blob() -> None:
    opened, other = door("alice/tiny"), Digest.of(b"other")
    queries = [f"mount={BLOB}&from=alice/tiny", f"mount={BLOB}&from=zorro/absent", f"mount={other}"]
    assert [mount(opened, query) for query in queries] == [202] * 3


@pytest.mark.parametrize("query", ["mount=%ff", "&".join(["a=1"] * 100), "mount=sha256:short"])
def test_what_cannot_be_read_as_a_query_is_refused(query: str) -> None:
    assert mount(door(), query) == 400
