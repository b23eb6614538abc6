"""Which names a mirror means where a registry says odd things of them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
from faults import quick
from mirror_kit import DESTINATION, SOURCE, Pairing, Registry
from sample_models import KiB, Model, put

from cli.mirror_extraneous import find
from cli.mirror_names import Mirrored, MirrorNames
from cli.options import Invocation
from cli.render import Terminal
from cli.settings import Settings
from cli.settings.sync_file import MirrorEntry
from registry.errors import DeniedError, NotFoundError, ProtocolError, RegistryError, Side
from registry.model.names import Name
from registry.model.selection import Selection
from registry.transfer.engine import Engine
from registry.transfer.pairs import Outcome, Pair, Result, Unlisted
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response


def names_of(
    between: Pairing,
    *entries: MirrorEntry,
    other: Registry | None = None,
    said: TextIO | None = None,
    noted: set[str] | None = None,
) -> MirrorNames:
    there = {each.host: each.remote for each in (between.source, between.destination, other) if each}
    opened: Any = SimpleNamespace(
        remote=lambda name: there[name.host.removesuffix(":443")],
        origin=lambda name: name.host.removesuffix(":443"),
        remote_at=lambda origin, _repository: there[origin],
    )
    invocation = Invocation(Settings({}, {}), Terminal(io.StringIO(), said or io.StringIO()))
    return MirrorNames(invocation, opened, Engine(quick()), entries, noted)


def told(between: Pairing, *entries: MirrorEntry) -> list[Pair | Unlisted]:
    return list(names_of(between, *entries).pairs())


def test_a_tag_as_no_registry_should_have_it_stops_no_other() -> None:
    between = Pairing()
    between.put("acme/tiny:1.0", Model.random(1, KiB))
    odd = ["../evil", "a b", "-x", "y" * 129, "\x1b[31mred", ""]
    body = json.dumps({"name": "acme/tiny", "tags": [*odd, "1.0"]}).encode()
    tags = Response(200, Headers({"Content-Type": "application/json"}), body)
    between.source.wrong = lambda request: tags if "/tags/list" in request.path else None

    found = told(between, MirrorEntry(f"{SOURCE}/acme/tiny", f"{DESTINATION}/acme/tiny"))

    assert [each.name.tag for each in found if isinstance(each, Pair)] == ["1.0"]
    assert len([each for each in found if isinstance(each, Unlisted)]) == len(odd)


def catalogue_of(between: Pairing, *repositories: str) -> None:
    body = json.dumps({"repositories": repositories}).encode()
    answer = Response(200, Headers({"Content-Type": "application/json"}), body)
    between.source.wrong = lambda request: answer if "/_catalog" in request.path else None


def test_a_repository_as_no_registry_should_have_it_stops_no_other() -> None:
    between = Pairing()
    between.put("acme/tiny:1.0", Model.random(1, KiB))
    catalogue_of(between, "acme/tiny", "acme/../evil", "acme//b", "acme/\x1b[31mred", "else/where")

    found = told(between, MirrorEntry(f"{SOURCE}/acme", f"{DESTINATION}/all"))

    assert [each.at_destination for each in found if isinstance(each, Pair)] == [
        f"{DESTINATION}/all/tiny:1.0"
    ]
    assert len([each for each in found if isinstance(each, Unlisted)]) == 3


@pytest.mark.parametrize(("code", "kind"), [("DENIED", DeniedError), ("UNSUPPORTED", NotFoundError)])
def test_who_may_not_see_a_catalogue_is_told_so(code: str, kind: type[RegistryError]) -> None:
    between = Pairing()
    between.source.wrong = lambda request: fault(code, "no") if "/_catalog" in request.path else None

    (found,) = told(between, MirrorEntry(f"{SOURCE}/acme", f"{DESTINATION}/all"))

    assert isinstance(found, Unlisted)
    assert type(found.error) is kind
    assert "lists none below it" in found.error.message


@pytest.mark.parametrize("place", ["acme/copies", "Acme/copies", "acme/{repository}-too", "acme/tiny"])
def test_a_namespace_is_not_mirrored_into_itself(place: str) -> None:
    """Each round of a service copied the copies of the last one too."""
    between = Pairing()
    for each in ("tiny", "large"):
        between.put(f"acme/{each}:1.0", Model.random(1, KiB))

    (found,) = told(between, MirrorEntry(f"{SOURCE}/acme", f"{SOURCE}/{place}"))

    assert isinstance(found, Unlisted)
    assert "each run would copy what the last one copied" in found.error.message


@pytest.mark.parametrize("place", ["acme", "acme-too", "all/acme", "acme/{repository}"])
def test_a_namespace_may_be_mirrored_beside_itself_and_onto_itself(place: str) -> None:
    between = Pairing()
    between.put("acme/tiny:1.0", Model.random(1, KiB))

    (found,) = told(between, MirrorEntry(f"{SOURCE}/acme", f"{SOURCE}/{place}"))

    assert isinstance(found, Pair)


@pytest.mark.parametrize("source", [f"https://{SOURCE}/acme/tiny/", f"{SOURCE}/acme/tiny"])
def test_a_source_that_cannot_be_asked_is_told_as_it_is_where_it_can(source: str) -> None:
    """Of one source there were two rows in the metrics: one with, one without what it is asked by."""
    between = Pairing()
    between.source.wrong = lambda _request: fault("DENIED", "no")

    (found,) = told(between, MirrorEntry(source, f"{DESTINATION}/acme/tiny"))

    assert isinstance(found, Unlisted)
    assert found.source == f"{SOURCE}/acme/tiny"


def test_a_list_of_referrers_is_no_name_of_its_own() -> None:
    """It would be written twice at once: as it is, and merged with what the destination has."""
    between = Pairing()
    for tag in ("1.0", f"sha256-{'0' * 64}", f"sha256-{'0' * 64}.sig"):
        between.put(f"acme/tiny:{tag}", Model.random(1, KiB))

    found = told(between, MirrorEntry(f"{SOURCE}/acme/tiny", f"{DESTINATION}/acme/tiny"))

    assert [each.name.tag for each in found if isinstance(each, Pair)] == ["1.0", f"sha256-{'0' * 64}.sig"]


def test_two_sources_of_one_place_are_told_apart_however_its_letters_are_written() -> None:
    """Each overwrote what the other brought, in every run."""
    between = Pairing()
    for model in ("one", "two"):
        between.put(f"acme/{model}:1.0", Model.random(1, KiB))

    found = told(
        between,
        MirrorEntry(f"{SOURCE}/acme/one", f"{DESTINATION}/acme/same"),
        MirrorEntry(f"https://{SOURCE}/acme/two", f"https://{DESTINATION}/Acme/Same"),
    )

    pair, clash = found
    assert isinstance(pair, Pair)
    assert isinstance(clash, Unlisted)
    assert (clash.source, clash.destination) == (f"{SOURCE}/acme/two:1.0", f"{DESTINATION}/Acme/Same:1.0")
    assert str(clash.error) == f"{SOURCE}/acme/one:1.0 goes to {DESTINATION}/acme/same:1.0 too"


@pytest.mark.parametrize("there", [["1.0", "b1"], ["1.0"]])
def test_what_a_source_brought_whose_list_has_none_of_it_any_more_stays(there: list[str]) -> None:
    """Two sources of one place: for the tags that were meant from one, the other alone was asked."""
    between = Pairing()
    for each in ("one:1.0", *(f"two:{tag}" for tag in there)):
        between.put(f"acme/{each}", Model.random(1, KiB))
    names = names_of(
        between,
        MirrorEntry(f"{SOURCE}/acme/one", f"{DESTINATION}/acme/same"),
        MirrorEntry(f"{SOURCE}/acme/two", f"{DESTINATION}/acme/same", Selection(("b*",))),
    )
    put(between.destination.remote, between.destination.name("acme/same:b1"), Model.random(1, KiB))

    list(names.pairs())

    (place,) = names.mirrored.values()
    assert len(place.sources) == 2
    assert find(place, []) is None


ENTRIES = [MirrorEntry(source, f"{DESTINATION}/all") for source in (f"{SOURCE}/acme", "b.example/acme")]


@dataclass
class Merged:
    """Two namespaces that go into one; both had `tiny`, and v1 of it came from the first."""

    between: Pairing
    other: Registry
    said: io.StringIO = field(default_factory=io.StringIO)
    noted: set[str] = field(default_factory=set)

    @classmethod
    def made(cls) -> Merged:
        between, other = Pairing(), Registry("b.example")
        for text in ("acme/tiny:v1", "acme/large:v1"):
            between.put(text, Model.random(1, KiB))
        put(other.remote, other.name("acme/tiny:w1"), Model.random(2, KiB))
        for tag in ("v1", "w1"):
            put(between.destination.remote, between.destination.name(f"all/tiny:{tag}"), Model.random(1, KiB))
        return cls(between, other)

    def names(self) -> MirrorNames:
        names = names_of(self.between, *ENTRIES, other=self.other, said=self.said, noted=self.noted)
        list(names.pairs())
        return names

    def source_says(self, **answers: Response | None) -> None:
        """Of its catalogue and of the tags of `tiny`."""

        def answer(request: Request) -> Response | None:
            if request.path.startswith("/v2/_catalog"):
                return answers.get("catalogue")
            return answers.get("tags") if request.path.startswith("/v2/acme/tiny/tags/list") else None

        self.between.source.wrong = answer


def page(link: str = "", **found: list[str]) -> Response:
    headers = {"Content-Type": "application/json"} | ({"Link": f'<{link}>; rel="next"'} if link else {})
    return Response(200, Headers(headers), json.dumps({"name": "acme/tiny", **found}).encode())


CUT = page(repositories=["acme/large"])
ITSELF_AGAIN = page("/v2/_catalog?n=1000&last=acme%2Flarge", repositories=["acme/large"])


@pytest.mark.parametrize(
    ("catalogue", "tags"),
    [(CUT, None), (CUT, page(tags=[])), (CUT, Response(404, Headers(), b"")), (ITSELF_AGAIN, None)],
    ids=["cut", "and its tags hidden", "and said to be nowhere", "a page that names itself as the next"],
)
def test_what_came_from_a_repository_stays_that_a_catalogue_leaves_out(
    catalogue: Response, tags: Response | None
) -> None:
    """Two namespaces go into one: only the other one's list was asked, and v1 was deleted."""
    merged = Merged.made()
    merged.source_says(catalogue=catalogue, tags=tags)

    names = merged.names()

    assert not names.incomplete
    (tiny,) = (each for each in names.mirrored.values() if each.name.model == "tiny")
    with pytest.raises(ProtocolError, match=r"has acme/tiny, which its lists leave out; nothing is deleted"):
        find(tiny, [], names.left_out(tiny))


def test_nothing_goes_either_where_a_repository_that_a_catalogue_leaves_out_has_other_tags() -> None:
    merged = Merged.made()
    source = merged.between.source
    source.remote.untag(source.name("acme/tiny:v1"))
    put(source.remote, source.name("acme/tiny:v2"), Model.random(1, KiB))
    merged.source_says(catalogue=CUT)

    names = merged.names()

    (tiny,) = (each for each in names.mirrored.values() if each.name.model == "tiny")
    with pytest.raises(ProtocolError, match="has acme/tiny, which its lists leave out"):
        find(tiny, [], names.left_out(tiny))


@pytest.mark.parametrize("place", [f"{SOURCE}/all/tiny", f"{DESTINATION}/allies/tiny"])
def test_no_repository_comes_to_another_host_or_beside_where_its_entry_says(place: str) -> None:
    merged = Merged.made()
    there = Mirrored(merged.other.patient(Side.DESTINATION), Name.parse(place))

    assert list(merged.names().left_out(there)) == []


def test_what_came_from_a_repository_goes_that_is_not_there_any_more() -> None:
    merged = Merged.made()
    gone = merged.between.source
    gone.remote.untag(gone.name("acme/tiny:v1"))
    merged.source_says(catalogue=CUT)

    names = merged.names()

    (tiny,) = (each for each in names.mirrored.values() if each.name.model == "tiny")
    found = find(tiny, [], names.left_out(tiny))
    assert found is not None and [*found.tags] == ["v1"]
    (large,) = (each for each in names.mirrored.values() if each.name.model == "large")
    assert [str(name) for _, name in names.left_out(large)] == ["b.example/acme/large:latest"]


@pytest.mark.parametrize(
    "catalogue",
    [
        page(repositories=[]),
        page(repositories=["elsewhere/tiny"]),
        page(nothing=[]),
    ],
    ids=["empty", "of others", "none"],
)
def test_nothing_goes_where_the_catalogue_of_one_source_is_none(catalogue: Response) -> None:
    merged = Merged.made()
    merged.source_says(catalogue=catalogue)

    assert merged.names().incomplete


def test_a_repository_into_which_nothing_was_published_yet_is_no_failure_and_nothing_goes_there() -> None:
    """Debian's and CNCF's registry name it in their catalogue from the first upload on, and answer 404."""
    merged = Merged.made()
    merged.source_says(tags=Response(404, Headers(), b""))

    names = merged.names()

    assert not names.incomplete
    (tiny,) = (each for each in names.mirrored.values() if each.name.model == "tiny")
    assert len(tiny.sources) == 2
    assert find(tiny, [], names.left_out(tiny)) is None
    merged.names()  # another round of the same service
    assert merged.said.getvalue().count(f"{SOURCE}/acme/tiny has no tags") == 1


def test_where_nothing_is_mirrored_to_nothing_is_looked_for() -> None:
    between = Pairing()
    between.put("acme/two:1.0", Model.random(1, KiB))
    names = names_of(
        between, MirrorEntry(f"{SOURCE}/acme/two", f"{DESTINATION}/acme/two", Selection(("b*",)))
    )

    assert list(names.pairs()) == []

    (place,) = names.mirrored.values()
    assert find(place, []) is None
    assert between.destination.asked == []


def test_a_failure_under_any_spelling_of_a_host_keeps_what_is_there() -> None:
    between = Pairing()
    for tag in ("v1", "w1"):
        between.put(f"acme/tiny:{tag}", Model.random(1, KiB))
    put(between.destination.remote, between.destination.name("acme/tiny:v0"), Model.random(2, KiB))
    places = (DESTINATION, f"{DESTINATION}:443")
    entries = [
        MirrorEntry(f"{SOURCE}/acme/tiny", f"{host}/acme/tiny", Selection((pattern,)))
        for host, pattern in zip(places, ("v*", "w*"), strict=True)
    ]
    names = names_of(between, *entries)
    list(names.pairs())
    (place,) = names.mirrored.values()

    assert find(place, []) is not None
    for host in places:
        assert find(place, [Result("", f"{host}/acme/tiny:v1", Outcome.FAILED)]) is None


def test_what_is_mirrored_by_its_digest_is_expected_by_it() -> None:
    between = Pairing()
    between.put("acme/tiny:1.0", Model.random(1, KiB))
    digest = between.source.remote.digest(between.source.name("acme/tiny:1.0"))
    names = names_of(between, MirrorEntry(f"{SOURCE}/acme/tiny@{digest}", f"{DESTINATION}/acme/tiny"))

    list(names.pairs())

    (place,) = names.mirrored.values()
    assert place.expected == {digest}
