"""A registry that says it holds what it does not serve, as a pull-through cache does."""

from __future__ import annotations

from mirror_kit import Pairing
from sample_models import KiB, Model, get

from registry.transfer.pairs import Outcome
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response


def test_a_blob_that_a_cache_only_claims_to_hold_is_sent_and_the_manifest_tried_once_more() -> None:
    between = Pairing()
    model = Model.random(5, 500 * KiB)
    between.put("acme/tiny:1", model)
    blob = next(blob for blob in model.manifest.blobs() if blob.size == 500 * KiB)
    claimed = Response(200, Headers({"Content-Length": str(blob.size)}), b"", blob.size)

    def claims(request: Request) -> Response | None:
        return claimed if request.method == "HEAD" and str(blob.digest) in request.path else None

    between.destination.wrong = claims

    result = between.run(between.pair("acme/tiny:1"))["tiny:1"]

    assert (result.outcome, result.error) == (Outcome.COPIED, None)
    assert result.transferred >= blob.size
    assert sum("PUT /v2/acme/tiny/manifests" in line for line in between.destination.asked) == 2
    between.destination.wrong = lambda _: None
    assert get(between.destination.remote, between.destination.name("acme/tiny:1")) == model


def test_a_manifest_that_is_refused_for_ever_is_tried_twice() -> None:
    between = Pairing()
    model = Model.random(6, 500 * KiB)
    between.put("acme/tiny:1", model)
    digest = model.manifest.layers[0].digest

    def refuses(request: Request) -> Response | None:
        unknown = fault("MANIFEST_BLOB_UNKNOWN", f"blob {digest} unknown to registry")
        return unknown if request.method == "PUT" and "/manifests/" in request.path else None

    between.destination.wrong = refuses

    result = between.run(between.pair("acme/tiny:1"))["tiny:1"]

    assert result.outcome is Outcome.FAILED
    assert str(digest) in str(result.error)
    assert sum("PUT /v2/acme/tiny/manifests" in line for line in between.destination.asked) == 2


def test_what_was_sent_anew_is_told_where_the_manifest_is_refused_all_the_same() -> None:
    between, puts = Pairing(), [0]
    model = Model.random(5, 500 * KiB)
    between.put("acme/tiny:1", model)
    digest = str(model.manifest.layers[0].digest)

    def far(request: Request) -> Response | None:
        if request.method == "HEAD" and digest in request.path:
            return Response(200, Headers({"Content-Length": str(500 * KiB)}), b"", 500 * KiB)
        puts[0] += request.method == "PUT" and "/manifests/" in request.path
        return fault("DENIED", "no") if puts[0] == 2 else None

    between.destination.wrong = far

    result = between.run(between.pair("acme/tiny:1"))["tiny:1"]

    assert result.outcome is Outcome.FAILED
    assert result.transferred >= 500 * KiB
