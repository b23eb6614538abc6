"""What a mirror deletes: lists that are wrong, others who write, registries that delete whole manifests."""

from __future__ import annotations

import pytest
from mirror_kit import DESTINATION, Pairing, signature
from sample_models import KiB, Model, index_of, put

from cli.mirror_extraneous import delete, find
from cli.mirror_names import Mirrored
from registry.errors import InvalidError, ProtocolError, RegistryError, Side
from registry.model.digests import Digest
from registry.model.selection import Selection
from registry.transfer.pairs import Outcome, Result
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

TAGS = ("v1", "v2", "v3")


@pytest.fixture
def between() -> Pairing:
    """A repository with three tags, and its mirror with one more."""
    pairing = Pairing()
    for seed, tag in enumerate((*TAGS, "v0")):
        model = Model.random(seed, KiB)
        put(pairing.destination.remote, pairing.destination.name(f"acme/tiny:{tag}"), model)
        if tag in TAGS:
            pairing.put(f"acme/tiny:{tag}", model)
    return pairing


def mirrored(between: Pairing, *expected: Digest | str) -> Mirrored:
    source = (between.source.patient(Side.SOURCE), between.source.name("acme/tiny"), Selection())
    name = between.destination.name("acme/tiny")
    return Mirrored(between.destination.patient(Side.DESTINATION), name, {*expected}, [source])


def there(between: Pairing) -> list[str]:
    return list(between.destination.remote.tags(between.destination.name("acme/tiny")))


def deleted(place: Mirrored) -> dict[str, RegistryError | None]:
    found = find(place, [])
    assert found is not None
    told: dict[str, RegistryError | None] = {}
    delete([found], lambda where, error: told.update({where.rpartition(":")[2]: error}))
    return told


def only_manifests(request: Request) -> Response | None:
    tag = "/manifests/" in request.path and "sha256:" not in request.path
    return fault("UNSUPPORTED", "by digest only") if request.method == "DELETE" and tag else None


def test_a_list_that_leaves_out_what_the_source_has_deletes_nothing(between: Pairing) -> None:
    """A page whose link got lost: 200, with fewer tags, and so the second time."""
    cut = Response(200, Headers({"Content-Type": "application/json"}), b'{"name":"acme/tiny","tags":["v1"]}')
    between.source.wrong = lambda request: cut if "/tags/list" in request.path else None

    with pytest.raises(ProtocolError, match=r"has v2, v3 of acme/tiny, which its list of tags leaves out"):
        find(mirrored(between, "v1"), [])


def test_nothing_goes_where_a_name_failed_under_another_spelling_of_the_host(between: Pairing) -> None:
    place = mirrored(between, *TAGS)
    place.spellings.add("dest.example:443/acme/tiny")

    assert find(place, [Result("", "DEST.example:443/acme/tiny:v2", Outcome.FAILED)]) is None


@pytest.mark.parametrize("what", ["Acme/tiny:v2", f"acme/tiny@{Digest.of(b'')}"])
def test_nothing_goes_where_a_name_failed_however_it_was_written(what: str, between: Pairing) -> None:
    lost = Result("", f"{DESTINATION}/{what}", Outcome.FAILED)

    assert find(mirrored(between, *TAGS), [lost]) is None


def test_what_was_pushed_at_the_source_since_its_list_was_read_stays(between: Pairing) -> None:
    between.put("acme/tiny:v0", Model.random(3, KiB))

    assert find(mirrored(between, *TAGS), []) is None


def test_what_is_in_no_list_and_not_there_goes(between: Pairing) -> None:
    assert deleted(mirrored(between, *TAGS)) == {"v0": None}
    assert there(between) == [*TAGS]


@pytest.mark.parametrize("ending", ["", ".sig"])
def test_the_tags_that_signatures_are_kept_under_stay(ending: str, between: Pairing) -> None:
    """A source with a list of its own has none of them; at a destination without one they are that list."""
    signed = between.destination.remote.digest(between.destination.name("acme/tiny:v1"))
    kept = between.destination.name(f"acme/tiny:sha256-{signed.hex}{ending}")
    put(between.destination.remote, kept, Model.random(7, KiB))

    assert deleted(mirrored(between, *TAGS)) == {"v0": None}
    assert kept.tag in there(between)


def test_what_somebody_moved_since_the_plan_was_made_stays(between: Pairing) -> None:
    found = find(mirrored(between, *TAGS), [])
    assert found is not None
    put(between.destination.remote, between.destination.name("acme/tiny:v0"), Model.random(9, KiB))
    kept: list[RegistryError | None] = []

    delete([found], lambda _, error: kept.append(error))

    assert isinstance(kept[0], InvalidError)
    assert "was moved meanwhile" in str(kept[0])
    assert "v0" in there(between)


def test_what_somebody_moved_while_the_registry_was_busy_stays(between: Pairing) -> None:
    """Between two attempts at deleting it there may be minutes."""
    place, name = mirrored(between, *TAGS), between.destination.name("acme/tiny:v0")

    def busy(request: Request) -> Response | None:
        if request.method != "DELETE":
            return None
        between.destination.wrong = lambda _: None
        put(between.destination.remote, name, Model.random(9, KiB))
        return Response(429, Headers({"Retry-After": "0"}), b"")

    between.destination.wrong = busy

    assert "was moved meanwhile" in str(deleted(place)["v0"])
    assert "v0" in there(between)


def test_a_repository_that_is_not_there_yet_has_nothing_to_delete(between: Pairing) -> None:
    place = mirrored(between, *TAGS)
    place.name = between.destination.name("acme/new")

    assert find(place, []) is None


def test_a_manifest_that_an_index_needs_which_stays_is_not_deleted(between: Pairing) -> None:
    """A registry that deletes whole manifests only, and a child of an index that had a tag of its own."""
    child = Model.random(3, KiB).manifest  # v0
    between.destination.remote.publish(between.destination.name("acme/tiny:all"), index_of(child))
    between.destination.wrong = only_manifests

    told = deleted(mirrored(between, *TAGS, "all"))

    assert "all needs this one" in str(told["v0"])
    assert between.destination.remote.resolve(between.destination.name("acme/tiny:v0")) == child


def test_what_the_destinations_list_leaves_out_is_needed_all_the_same(between: Pairing) -> None:
    """A tag that was mirrored a moment ago, of the manifest of one that is to go, and a list that is cut."""
    put(between.destination.remote, between.destination.name("acme/tiny:same"), Model.random(3, KiB))
    cut = Response(200, Headers({}), b'{"name":"acme/tiny","tags":["v0","v1","v2","v3"]}')
    between.destination.wrong = lambda request: (
        cut if "/tags/list" in request.path else only_manifests(request)
    )

    told = deleted(mirrored(between, *TAGS, "same"))

    assert "same needs this one" in str(told["v0"])


def test_what_is_mirrored_by_its_digest_is_needed_too(between: Pairing) -> None:
    """It has no tag: that of another, which was to go, took it along, or kept all others from going."""
    pinned = between.destination.remote.digest(between.destination.name("acme/tiny:v0"))
    between.destination.wrong = only_manifests

    told = deleted(mirrored(between, *TAGS, pinned))

    assert f"{pinned} needs this one" in str(told["v0"])


@pytest.mark.parametrize("deep", [False, True])
def test_what_refers_to_what_stays_is_not_deleted(deep: bool, between: Pairing) -> None:
    """With its tag the signature would go, or that of a signature which has no tag."""
    name, subject = between.destination.name("acme/tiny:sbom"), Model.random(0, KiB).manifest  # v1
    if deep:
        first = signature(subject, b"untagged")
        put(between.destination.remote, name.with_reference(first.manifest.digest), first)
        subject = first.manifest
    put(between.destination.remote, name, signature(subject, b"tagged"))
    between.destination.wrong = only_manifests

    told = deleted(mirrored(between, *TAGS))

    assert told["v0"] is None
    assert "this one refers to v1" in str(told["sbom"])
    assert there(between) == ["sbom", *TAGS]


def test_a_tag_that_is_pushed_meanwhile_does_not_go_with_another(between: Pairing) -> None:
    remote, names = between.destination.remote, between.destination.name
    put(remote, names("acme/tiny:w0"), Model.random(8, KiB))

    def pushing(request: Request) -> Response | None:
        if request.method == "DELETE" and "sha256:" in request.path and "mine" not in there(between):
            put(remote, names("acme/tiny:mine"), Model.random(8, KiB))
        return only_manifests(request)

    between.destination.wrong = pushing
    told = deleted(mirrored(between, *TAGS))

    assert told["v0"] is None
    assert "mine needs this one" in str(told["w0"])


def test_a_registry_that_is_busy_is_asked_again(between: Pairing) -> None:
    """Each question and each deletion, at both ends: where they were counted, hardly one was done."""
    refused: set[str] = set()

    def busy(request: Request) -> Response | None:
        asked = f"{request.method} {request.path}"
        if asked in refused:
            return None
        refused.add(asked)
        return Response(429, Headers({"Retry-After": "0"}), b"")

    between.source.wrong = between.destination.wrong = busy

    assert deleted(mirrored(between, *TAGS)) == {"v0": None}
    assert there(between) == [*TAGS]


def test_a_tag_that_stands_for_nothing_keeps_no_other_from_being_deleted(between: Pairing) -> None:
    """It was told that they were deleted, and none was."""

    def dangling(request: Request) -> Response | None:
        if request.path.endswith("/manifests/v2") and request.method in ("GET", "HEAD"):
            return fault("MANIFEST_UNKNOWN", "no such manifest")
        return only_manifests(request)

    between.destination.wrong = dangling

    assert deleted(mirrored(between, *TAGS)) == {"v0": None}
    assert "v0" not in there(between)


def test_a_repository_that_is_its_own_source_loses_nothing(between: Pairing) -> None:
    """The newest one of a repository, mirrored onto itself, made the others extraneous."""
    place = mirrored(between, "v3")
    place.sources = [(place.registry, place.name, Selection(newest=1))]

    with pytest.raises(InvalidError, match="source of itself"):
        find(place, [])
