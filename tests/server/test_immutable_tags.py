"""Tags that stay where they are: made once, never moved, never deleted; also in a race of two."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from depots import on_disk
from guarded import HOST, ORIGIN, Door, key, text
from races import refused_at_once
from test_depot_contract import CONFIG, WEIGHTS, model, published, put, tags

from registry.contracts import Depot
from registry.errors import InvalidError, NotFoundError, ProtocolError
from registry.model.manifests import Manifest
from registry.server.audit import entries
from registry.server.depot import DiskDepot
from registry.server.depot_memory import MemoryDepot
from registry.server.immutable import MOST_PATTERNS, ImmutableTags, TagPattern
from registry.wire.headers import Headers
from registry.wire.immutable import IMMUTABLE
from registry.wire.messages import Request


def protect(depot: Depot, where: str, pattern: str) -> None:
    if isinstance(depot, MemoryDepot):
        depot.immutable.append(TagPattern.parse(where, pattern))
    else:
        assert isinstance(depot, DiskDepot)
        ImmutableTags(depot.engine, depot.clock).add(where, pattern)


def another(depot: Depot, repository: str = "acme/tiny") -> Manifest:
    put(depot, b"other weights", repository)
    return model(b"other weights")


# --- what every depot promises ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["acme/tiny", "ACME/tiny", "acme"])
def test_a_tag_is_made_once_and_then_neither_moved_nor_deleted(depot: Depot, where: str) -> None:
    protect(depot, where, "v*")
    first = published(depot, "v1")
    depot.publish("acme/tiny", first, "v1")  # the same again
    other = another(depot)
    said = f"acme/tiny:v1 stays {first.digest}: the tags 'v\\*' of {where.lower()} are immutable"
    changes: list[Callable[[], object]] = [
        lambda: depot.publish("acme/tiny", other, "v1"),
        lambda: depot.delete_tag("acme/tiny", "v1"),
        lambda: depot.delete_manifest("acme/tiny", first.digest),
    ]
    for change in changes:
        with pytest.raises(ProtocolError, match=said):
            change()
    assert [each.digest for each in depot.tags("acme/tiny", "", 9)] == [first.digest]
    assert re.fullmatch(said, depot.why_immutable("acme/tiny", "v1"))
    depot.publish("acme/tiny", other, "latest")
    depot.publish("acme/tiny", first, "latest")
    assert [depot.why_immutable("acme/tiny", tag) for tag in ("latest", "v2")] == ["", ""]
    depot.delete_tag("acme/tiny", "latest")


def test_other_repositories_tags_move_as_ever(depot: Depot) -> None:
    protect(depot, "acme/tiny", "v*")
    for repository in ("acme/tinyer", "ben/tiny", "acme/tiny"):
        published(depot, "v1" if repository != "acme/tiny" else "V1", repository)
        depot.publish(repository, another(depot, repository), "v1" if repository != "acme/tiny" else "V1")


def test_of_several_tags_one_that_stays_refuses_all(depot: Depot) -> None:
    protect(depot, "acme/tiny", "v*")
    first = published(depot, "v1")
    other = another(depot)
    with pytest.raises(ProtocolError):
        depot.publish("acme/tiny", other, "a", more=["b", "v1", "v2"])
    assert tags(depot) == ["v1"]
    assert depot.manifest("acme/tiny", other.digest) is None
    depot.publish("acme/tiny", first, None, more=["a", "v1", "v2"])
    assert tags(depot) == ["a", "v1", "v2"]


# --- on disk ---------------------------------------------------------------------------------------------


def test_of_two_that_make_a_tag_at_once_exactly_one_does(tmp_path: Path) -> None:
    depots = [on_disk(tmp_path) for _ in range(2)]
    protect(depots[0], "acme", "v*")
    put(depots[0], CONFIG)
    manifests = [model(WEIGHTS), model(b"other weights")]
    for data in (WEIGHTS, b"other weights"):
        put(depots[0], data)
    for number in range(20):
        pushes = [
            partial(depot.publish, "acme/tiny", manifest, f"v{number}")
            for depot, manifest in zip(depots, manifests, strict=True)
        ]
        refused = refused_at_once(pushes, ProtocolError)
        (winner,) = (each.digest for each, error in zip(manifests, refused, strict=True) if error is None)
        (loser,) = filter(None, refused)
        assert str(winner) in loser.message
        found = depots[1].manifest("acme/tiny", f"v{number}")
        assert found is not None
        assert found.digest == winner
    for depot in depots:
        depot.engine.dispose()


def test_a_pattern_is_kept_listed_and_taken_back(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    patterns = ImmutableTags(depot.engine, depot.clock)
    assert patterns.add("Acme/Tiny", "v*")
    assert not patterns.add("acme/tiny", "v*")
    assert patterns.add("acme", "release-?")
    assert patterns.listed("acme/tiny") == [TagPattern("acme", "release-?"), TagPattern("acme/tiny", "v*")]
    assert patterns.listed("acme") == [TagPattern("acme", "release-?")]
    assert len(patterns.listed()) == 2
    patterns.remove("acme/tiny", "v*")
    with pytest.raises(NotFoundError, match="acme/tiny has no immutable tags 'v"):
        patterns.remove("acme/tiny", "v*")
    said = [(each.action, each.repository, each.subject) for each in entries(depot.engine)]
    assert said == [
        ("immutable.add", "acme/tiny", "v*"),
        ("immutable.add", "acme", "release-?"),
        ("immutable.remove", "acme/tiny", "v*"),
    ]


@pytest.mark.parametrize("pattern", ["", "a b", "v/*", "*" * 5, "v" * 129, "é"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="not a pattern of tags"):
        TagPattern.parse("acme/tiny", pattern)


@pytest.mark.parametrize("pattern", ["v[0-9", "[", "[]", "[!]", "v]", "[9-0]", "!v*"])
def test_a_pattern_that_covers_no_tag_is_refused_because_it_protects_nothing(pattern: str) -> None:
    with pytest.raises(InvalidError, match="not a pattern of tags"):
        TagPattern.parse("acme/tiny", pattern)


def test_a_pattern_may_have_sets_of_characters() -> None:
    for pattern, tag in (("v[0-9]*", "v1.0"), ("[!a-z]?", "V1"), ("v[0.9-]", "v-")):
        assert TagPattern.parse("acme/tiny", pattern).covers("ACME/tiny", tag)


def test_there_is_an_end_to_the_patterns_of_a_namespace(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    patterns = ImmutableTags(depot.engine, depot.clock)
    for number in range(MOST_PATTERNS):
        patterns.add("acme/tiny", f"v{number}")
    with pytest.raises(InvalidError, match="100 patterns already"):
        patterns.add("acme", "w")


# --- what a client is answered ---------------------------------------------------------------------------


def test_a_client_is_answered_412_with_the_tag_its_digest_and_the_pattern(tmp_path: Path) -> None:
    door = Door(depot=lambda door: DiskDepot(tmp_path, door.engine, lambda: door.now, lambda: "s"))
    door.join("acme", key(1))
    door.rights.set_public("acme/tiny", True)
    depot = DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abcdef").__next__)
    protect(depot, "acme/tiny", "v*")
    first, other = published(depot, "v1"), another(depot)
    token = door.token(key(1), "repository:acme/tiny:pull,push,delete")

    def ask(method: str, path: str, manifest: Manifest | None = None) -> tuple[int, str]:
        headers = Headers({"Host": HOST, "Authorization": f"Bearer {token}"})
        body = manifest.raw if manifest else b""
        answer = door.send(Request(method, f"{ORIGIN}/v2/acme/tiny/manifests/{path}", headers, body))
        return answer.status, text(answer)

    requests: dict[str, Callable[[], tuple[int, str]]] = {
        "move": lambda: ask("PUT", "v1", other),
        "move by tags": lambda: ask("PUT", f"{other.digest}?tag=a&tag=v1", other),
        "delete the tag": lambda: ask("DELETE", "v1"),
        "delete the manifest": lambda: ask("DELETE", str(first.digest)),
    }
    for name, request in requests.items():
        status, body = request()
        assert (name, status) == (name, 412)
        assert '"code": "PRECONDITION"' in body
        assert f"acme/tiny:v1 stays {first.digest}: the tags 'v*' of acme/tiny are immutable" in body
    account = door.token(key(1), "registry:account:*")
    assert door.ask("DELETE", "/api/repositories/acme/tiny", token=account).status == 412
    assert depot.manifest("acme/tiny", first.digest) is not None
    assert door.rights.public() == ["acme/tiny"]  # nothing of the removal was done
    head = {"Host": HOST, "Authorization": f"Bearer {token}"}
    told = [
        door.send(Request(method, f"{ORIGIN}/v2/acme/tiny/manifests/{path}", Headers(fields))).headers
        for method, path, fields in (
            ("HEAD", "v1", head),
            ("GET", "v1", head),
            ("HEAD", str(first.digest), head),
            ("HEAD", "v1", {"Host": HOST}),
        )
    ]
    said = f"acme/tiny:v1 stays {first.digest}: the tags 'v*' of acme/tiny are immutable"
    assert [each.get(IMMUTABLE) for each in told] == [said, "", "", ""]
    assert ask("PUT", "v1", first)[0] == 201
    assert ask("PUT", "v2", other)[0] == 201
    assert tags(depot) == ["v1", "v2"]
