"""What goes along with a name: signatures, and whatever else refers to it."""

from __future__ import annotations

import io
import json
import threading
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from faults import quick
from mirror_kit import SOURCE, Pairing, signature
from sample_models import KiB, Model, get, index_of, put

from cli import transfers
from cli.options import Invocation
from cli.progress import observer
from cli.render import Terminal
from cli.reports import summary
from cli.settings import Settings
from registry.errors import CorruptError, NotFoundError
from registry.model.manifests import OCI_INDEX, Manifest
from registry.transfer.engine import Engine
from registry.transfer.one_pair import Copying
from registry.transfer.pairs import Outcome, Referrers
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response


@pytest.fixture
def between() -> Pairing:
    return Pairing()


def signed(between: Pairing, text: str, seed: int) -> tuple[Model, Model]:
    """A model and its signature, which is signed too."""
    model = Model.random(seed, KiB)
    between.put(text, model)
    first = signature(model.manifest, b"signed by ada")
    second = signature(first.manifest, b"countersigned")
    for each in (first, second):
        name = between.source.name(text).with_reference(each.manifest.digest)
        put(between.source.remote, name, each)
    return model, second


def signed_later(between: Pairing, model: Model) -> Model:
    """A signature of a model that is `acme/tiny` at the source, where it is from now on."""
    late = signature(model.manifest, b"late")
    put(between.source.remote, between.source.name("acme/tiny:1").with_reference(late.manifest.digest), late)
    return late


def put_list(between: Pairing, model: Model, entries: list[dict[str, object]]) -> str:
    """The tag, at the source, that lists what refers to a model of `acme/tiny` where a registry does not."""
    tag = f"sha256-{model.manifest.digest.hex}"
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    name = between.source.name("acme/tiny:1").with_reference(tag)
    between.source.remote.publish(name, Manifest.parse(json.dumps(index).encode()))
    return tag


def no_list_of_referrers(request: Request) -> Response | None:
    return fault("UNSUPPORTED", "what?", status=404) if "/referrers/" in request.path else None


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, Headers({"Content-Type": "text/html"}), b"<html>what?</html>"),
        Response(200, Headers(), b'{"manifests":7}'),
        fault("UNSUPPORTED", "no", status=405),
        fault("DENIED", "no"),
    ],
    ids=["page", "no index", "405", "403"],
)
def test_a_registry_that_does_not_know_what_referrers_are_stops_no_model(
    between: Pairing, answer: Response
) -> None:
    between.put("acme/tiny:1", Model.random(15, KiB))
    between.source.wrong = lambda request: answer if "/referrers/" in request.path else None

    assert between.run(between.pair("acme/tiny:1"))["tiny:1"].outcome is Outcome.COPIED


@pytest.mark.parametrize("plain", [False, True])
def test_signatures_and_their_signatures_go_along(between: Pairing, plain: bool) -> None:
    model, second = signed(between, "acme/tiny:1", 8)
    if plain:
        between.destination.wrong = no_list_of_referrers

    between.run(between.pair("acme/tiny:1"))

    to = between.destination.name("acme/tiny:1")
    first = between.destination.remote.referrers(to.with_reference(model.manifest.digest))
    assert len(first) == 1
    assert get(between.destination.remote, to.with_reference(second.manifest.digest)) == second
    assert [
        each.digest for each in between.destination.remote.referrers(to.with_reference(first[0].digest))
    ] == [second.manifest.digest]


def test_a_name_comes_after_what_refers_to_it(between: Pairing) -> None:
    """Else a run that breaks in between is never mended: the name is the same from then on."""
    model, _ = signed(between, "acme/tiny:1", 14)
    no = fault("DENIED", "no")
    between.source.wrong = lambda request: no if "/manifests/sha256" in request.path else None

    broken = between.run(between.pair("acme/tiny:1"))["tiny:1"]
    with pytest.raises(NotFoundError):
        between.destination.remote.resolve(between.destination.name("acme/tiny:1"))
    between.source.wrong = lambda _: None
    between.run(between.pair("acme/tiny:1"))

    assert broken.outcome is Outcome.FAILED
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    assert len(between.destination.remote.referrers(to)) == 1


def test_a_source_without_a_list_tells_by_the_tag_for_that(between: Pairing) -> None:
    model, _ = signed(between, "acme/tiny:1", 9)
    name = between.source.name("acme/tiny:1").with_reference(model.manifest.digest)
    entries = [dict(each.fields) for each in between.source.remote.referrers(name)]
    put_list(between, model, entries)
    between.source.wrong = no_list_of_referrers

    between.run(between.pair("acme/tiny:1"))

    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    assert [dict(each.fields)["digest"] for each in between.destination.remote.referrers(to)] == [
        entries[0]["digest"]
    ]


@pytest.mark.parametrize(("mode", "arrives"), [("changed", False), ("always", True), ("never", False)])
def test_a_signature_made_later_goes_along_where_that_was_asked_for(
    between: Pairing, mode: str, arrives: bool
) -> None:
    model = Model.random(10, KiB)
    between.put("acme/tiny:1", model)
    between.run(between.pair("acme/tiny:1"))
    signed_later(between, model)

    between.run(between.pair("acme/tiny:1"), referrers=Referrers(mode))

    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    assert bool(between.destination.remote.referrers(to)) is arrives
    asked = [line for line in between.source.asked if "/referrers/" in line]
    assert bool(asked) is (mode == "always")


@pytest.mark.parametrize(("mode", "arrives"), [("changed", True), ("never", False)])
def test_a_signature_that_a_tag_lists_later_goes_along_and_costs_a_question_at_each_side(
    between: Pairing, mode: str, arrives: bool
) -> None:
    """As clients write it where a registry keeps no list of referrers."""
    model = Model.random(18, KiB)
    between.put("acme/tiny:1", model)
    between.run(between.pair("acme/tiny:1"))
    late = signed_later(between, model)
    tag = put_list(between, model, [late.manifest.descriptor().as_json()])
    between.source.wrong = between.destination.wrong = no_list_of_referrers
    pair = replace(between.pair("acme/tiny:1"), attached=(f"sha256-{'0' * 64}", tag, f"sha256-{'f' * 64}"))

    looked = between.run(pair, referrers=Referrers(mode), looks=True)["tiny:1"]
    written = [line for line in between.destination.asked if not line.startswith(("GET", "HEAD"))]
    first = between.run(pair, referrers=Referrers(mode))["tiny:1"]
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    found = [each.digest for each in between.destination.remote.referrers(to)]
    again = between.run(pair, referrers=Referrers(mode))["tiny:1"]

    assert first.outcome is again.outcome is looked.outcome is Outcome.PRESENT
    assert (looked.would_move, looked.transferred, written) == (first.transferred, 0, [])
    assert (first.transferred > 0) is arrives
    assert found == ([late.manifest.digest] if arrives else [])
    assert again.transferred == 0
    for side in (between.source, between.destination):
        asked = [line for line in side.asked if "/referrers/" not in line]
        assert len(asked) == (2 if arrives else 1), asked
        assert not any(line.startswith(("PUT", "POST")) for line in asked)


def test_a_single_name_is_mirrored_with_what_was_signed_later(between: Pairing) -> None:
    model = Model.random(19, KiB)
    between.put("acme/tiny:1", model)
    work = Copying(Engine(quick()))
    work.report(between.pair("acme/tiny:1"))
    late = signed_later(between, model)

    work.report(replace(between.pair("acme/tiny:1"), referrers=Referrers.NEVER))
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    never = between.destination.remote.referrers(to)
    work.report(between.pair("acme/tiny:1"))

    assert not never
    assert [each.digest for each in between.destination.remote.referrers(to)] == [late.manifest.digest]


def test_signatures_under_tags_of_their_own_go_along(between: Pairing) -> None:
    model = Model.random(11, KiB)
    between.put("acme/tiny:1", model)
    tag = f"sha256-{model.manifest.digest.hex}.sig"
    sig = signature(model.manifest, b"cosign")
    between.put(f"acme/tiny:{tag}", sig)
    other = f"sha256-{'0' * 64}.sig"
    between.put(f"acme/tiny:{other}", sig)

    between.run(replace(between.pair("acme/tiny:1"), attached=(other, tag)))

    there = between.destination.name("acme/tiny:1")
    assert get(between.destination.remote, there.with_reference(tag)) == sig
    assert other not in between.destination.remote.tags(there)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_an_artifact_that_is_mirrored_by_its_own_tag_is_listed_too(
    between: Pairing, plain: bool, one: bool
) -> None:
    """Where a registry keeps no list the client does, before the tag: it is looked at no more after that."""
    model = Model.random(21, KiB)
    between.put("acme/tiny:1", model)
    between.run(between.pair("acme/tiny:1"))
    between.put("acme/tiny:sbom", signature(model.manifest, b"an SBOM"))
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    if plain:
        between.destination.wrong = no_list_of_referrers

    between.destination.asked.clear()
    if one:
        Copying(Engine(quick())).report(between.pair("acme/tiny:sbom"))
    else:
        between.run(between.pair("acme/tiny:sbom"))

    (entry,) = between.destination.remote.referrers(to)
    assert entry.digest == between.source.remote.digest(between.source.name("acme/tiny:sbom"))
    assert entry.fields["artifactType"] == "application/vnd.example.signature"
    assert between.destination.remote.digest(to.with_reference("sbom")) == entry.digest
    put_at = [line for line in between.destination.asked if line.startswith("PUT /v2/acme/tiny/manifests")]
    assert put_at[-1].endswith("/sbom")
    assert len(put_at) == (3 if plain else 2)


@pytest.mark.parametrize("mode", ["changed", "never"])
def test_what_an_index_names_is_listed_before_the_index_is_there(between: Pairing, mode: str) -> None:
    """OCI distribution specification 1.1, "Pushing Manifests with Subject": it holds for each that is put."""
    model = Model.random(41, KiB)
    sbom = signature(model.manifest, b"an SBOM that an index names")
    inner = index_of(sbom.manifest)
    name = between.source.name("acme/tiny:1")
    put(between.source.remote, name.with_reference(sbom.manifest.digest), sbom)
    between.source.remote.publish(name.with_reference(inner.digest), inner)
    between.source.remote.publish(name, index_of(inner))
    between.destination.wrong = no_list_of_referrers

    between.run(between.pair("acme/tiny:1"), referrers=Referrers(mode))

    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    (entry,) = between.destination.remote.referrers(to)
    assert entry == sbom.manifest.as_referrer()
    put_at = [line.rpartition("/")[2] for line in between.destination.asked if line.startswith("PUT ")]
    assert put_at[-3:] == [f"sha256-{model.manifest.digest.hex}", str(inner.digest), "1"]


def test_two_that_are_listed_at_once_are_listed_both(between: Pairing) -> None:
    """Where the list is the client's: each put it without the other, and the next run saw nothing wrong."""
    model, meeting = Model.random(22, KiB), threading.Barrier(2)
    tags = ("sbom", "signature")
    for tag in tags:
        between.put(f"acme/tiny:{tag}", signature(model.manifest, tag.encode()))

    def far(request: Request) -> Response | None:
        if request.method == "PUT" and f"/manifests/sha256-{model.manifest.digest.hex}" in request.path:
            with suppress(threading.BrokenBarrierError):  # alone, which is right
                meeting.wait(0.1)
        return no_list_of_referrers(request)

    between.destination.wrong = far

    between.run(*(between.pair(f"acme/tiny:{tag}") for tag in tags))

    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    assert len(between.destination.remote.referrers(to)) == 2


@pytest.mark.parametrize(("others", "outcome"), [(1, Outcome.COPIED), (20, Outcome.FAILED)])
def test_a_list_that_another_process_puts_at_the_same_time_is_put_again_with_both(
    between: Pairing, others: int, outcome: Outcome
) -> None:
    """Of two mirrors at once one failed: what it read back was the other's list, without its own."""
    model, remote = Model.random(22, KiB), between.destination.remote
    between.put("acme/tiny:signature", signature(model.manifest, b"ours"))
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    tag = to.with_reference(f"sha256-{model.manifest.digest.hex}")
    theirs = [signature(model.manifest, b"%d" % number) for number in range(others)]
    for each in theirs:
        put(remote, to.with_reference(each.manifest.digest), each)

    def far(request: Request) -> Response | None:
        if request.method == "PUT" and tag.reference in request.path:
            between.destination.wrong = between_ours_and_our_look
        return no_list_of_referrers(request)

    def between_ours_and_our_look(_request: Request) -> Response | None:
        between.destination.wrong = no_list_of_referrers
        remote.publish(tag, index_of(theirs.pop().manifest))
        between.destination.wrong = far if theirs else no_list_of_referrers
        return None

    between.destination.wrong = far
    ended = between.run(between.pair("acme/tiny:signature"))["tiny:signature"]

    assert ended.outcome is outcome
    if outcome is Outcome.COPIED:
        assert len(remote.referrers(to)) == 2
    else:
        assert isinstance(ended.error, CorruptError)


def test_what_would_move_of_a_name_that_is_new_counts_what_refers_to_it(between: Pairing) -> None:
    signed(between, "acme/tiny:1", 32)

    looked = between.run(between.pair("acme/tiny:1"), looks=True)["tiny:1"]

    assert looked.would_move == between.run(between.pair("acme/tiny:1"))["tiny:1"].transferred


def test_a_single_name_tells_what_refers_to_it_and_a_look_what_would_move_of_it(between: Pairing) -> None:
    model, _ = signed(between, "acme/tiny:1", 33)

    looked, copied = (told_of_one(between, dry_run) for dry_run in (True, False))
    nothing = [told_of_one(between, dry_run) for dry_run in (True, False)]
    late = signed_later(between, model)
    later = [told_of_one(between, dry_run) for dry_run in (True, False)]

    there = between.source.name("acme/tiny:1").with_reference(late.manifest.digest)
    new = sum(blob.size for blob in between.source.remote.resolve(there).layers)
    assert looked["referrers"] == {"would_transfer": copied["referrers"]["transferred"]}
    assert looked["transferred"] == 0
    assert not any("referrers" in told for told in nothing)
    assert [told["referrers"] for told in later] == [{"would_transfer": new}, {"transferred": new}]
    assert f"all of it is there, {new} B that refers to it would move, tag" in summary(later[0], "")
    assert f"all of it was there, {new} B that refers to it moved, tag" in summary(later[1], "")


def told_of_one(between: Pairing, dry_run: bool) -> dict[str, Any]:
    """What `ferry mirror NAME NAME` says in JSON."""
    invocation = Invocation(Settings({"dry_run": dry_run}, {}), Terminal(io.StringIO(), io.StringIO()))
    opened: Any = SimpleNamespace(
        remote=lambda name: (between.source if name.host == SOURCE else between.destination).remote,
        origin=lambda name: name.host,
        interrupt=lambda: None,
    )
    name, to = between.source.name("acme/tiny:1"), between.destination.name("acme/tiny:1")
    copies = transfers.Copies(invocation, observer(invocation.terminal, "none"), opened)
    return dict(copies.made(to, lambda to: transfers.between(opened, name, to, Referrers.CHANGED))[0])


def test_referrers_in_a_circle_are_asked_about_once(between: Pairing) -> None:
    """A source that lists the same manifests for each of them would be asked 8 ** 5 times."""
    name = between.source.name("acme/tiny:1")
    between.put("acme/tiny:1", Model.random(16, KiB))
    all_of_them = [Model.random(20 + number, KiB).manifest for number in range(8)]
    for number, manifest in enumerate(all_of_them):
        put(between.source.remote, name.with_reference(manifest.digest), Model.random(20 + number, KiB))
    entries = [manifest.descriptor().as_json() for manifest in all_of_them]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    lists = Response(200, Headers({"Content-Type": OCI_INDEX}), body)
    between.source.wrong = lambda request: lists if "/referrers/" in request.path else None

    assert between.run(between.pair("acme/tiny:1"))["tiny:1"].outcome is Outcome.COPIED
    assert sum("/referrers/" in line for line in between.source.asked) == 9


def test_a_list_that_names_what_was_deleted_stops_no_model(between: Pairing) -> None:
    model, _ = signed(between, "acme/tiny:1", 17)
    name = between.source.name("acme/tiny:1")
    (first,) = between.source.remote.referrers(name.with_reference(model.manifest.digest))
    gone = fault("MANIFEST_UNKNOWN", "no such manifest")
    between.source.wrong = lambda request: gone if f"/manifests/{first.digest}" in request.path else None

    assert between.run(between.pair("acme/tiny:1"))["tiny:1"].outcome is Outcome.COPIED
    to = between.destination.name("acme/tiny:1").with_reference(model.manifest.digest)
    assert not between.destination.remote.referrers(to)
