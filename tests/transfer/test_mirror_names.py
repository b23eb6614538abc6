"""Which names a mirror means where a registry says odd things of them."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from faults import quick
from mirror_kit import DESTINATION, SOURCE, Pairing
from sample_models import KiB, Model, put

from cli.mirror_extraneous import find
from cli.mirror_names import MirrorNames
from cli.options import Invocation
from cli.render import Terminal
from cli.settings import Settings
from cli.settings.sync_file import MirrorEntry
from registry.model.names import Name
from registry.model.selection import Selection
from registry.transfer.engine import Engine
from registry.transfer.pairs import Pair, Unlisted
from registry.wire.headers import Headers
from registry.wire.messages import Response


def names_of(between: Pairing, *entries: MirrorEntry) -> MirrorNames:
    def remote(name: Name) -> object:
        return (between.source if name.host == SOURCE else between.destination).remote

    opened: Any = SimpleNamespace(remote=remote, origin=lambda name: name.host)
    invocation = Invocation(Settings({}, {}), Terminal(io.StringIO(), io.StringIO()))
    return MirrorNames(invocation, opened, Engine(quick()), entries)


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
        MirrorEntry(f"{SOURCE}/acme/two", f"{DESTINATION}/Acme/Same"),
    )

    pair, clash = found
    assert isinstance(pair, Pair)
    assert isinstance(clash, Unlisted)
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
