"""A push that is to move no tag: what is there stays, also in a race of two; the same again is no second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from depots import on_disk
from labs import Lab
from test_depot_contract import CONFIG, WEIGHTS, model, published, put, tags
from test_immutable_tags import another, protect

from registry.contracts import Depot
from registry.errors import ProtocolError, Reason
from registry.model.manifests import OCI_MANIFEST


def test_a_tag_that_is_there_stays_and_nothing_of_the_push_is_kept(depot: Depot) -> None:
    first = published(depot, "v1")
    put(depot, b"other weights", "acme/tiny")
    other = model(b"other weights")
    said = f"acme/tiny:v1 is there already and stands for {first.digest}"
    with pytest.raises(ProtocolError, match=said) as caught:
        depot.publish("acme/tiny", other, "v2", more=["v1"], if_absent=True)
    assert caught.value.reason is Reason.TAG_TAKEN
    assert (tags(depot), depot.manifest("acme/tiny", other.digest)) == (["v1"], None)
    depot.publish("acme/tiny", other, "v2", if_absent=True)
    depot.publish("acme/tiny", first, "v1", if_absent=True)  # the same again: an answer may have been lost
    assert tags(depot) == ["v1", "v2"]
    depot.publish("acme/tiny", other, "v1")  # who says nothing moves it as ever
    assert [str(tag.digest) for tag in depot.tags("acme/tiny", "", 9)] == [str(other.digest)] * 2


def test_a_tag_that_is_immutable_too_is_told_to_be_so(depot: Depot) -> None:
    protect(depot, "acme/tiny", "v*")
    published(depot, "v1")
    with pytest.raises(ProtocolError, match=r"the tags 'v\*' of acme/tiny are immutable") as caught:
        depot.publish("acme/tiny", another(depot), "v1", if_absent=True)
    assert caught.value.reason is Reason.TAG_IMMUTABLE


def test_of_two_that_make_a_tag_at_once_exactly_one_does(tmp_path: Path) -> None:
    depots = [on_disk(tmp_path) for _ in range(2)]
    put(depots[0], CONFIG)
    manifests = [model(WEIGHTS), model(b"other weights")]
    for data in (WEIGHTS, b"other weights"):
        put(depots[0], data)
    for number in range(4):
        tag = f"v{number}"
        with ThreadPoolExecutor(2) as pool:
            pushes = [
                pool.submit(depots[side].publish, "acme/tiny", manifests[side], tag, if_absent=True)
                for side in range(2)
            ]
        lost = [push.exception() for push in pushes if push.exception()]
        found = depots[1].manifest("acme/tiny", tag)
        assert found is not None
        assert [type(error) for error in lost] == [ProtocolError]
        assert str(found.digest) in str(lost[0])
    for depot in depots:
        depot.engine.dispose()


def test_if_none_match_is_how_a_push_says_it(lab: Lab) -> None:
    first, other = (lab.manifest(data, repository="acme/once") for data in (b"one", b"two"))
    path = "/v2/acme/once/manifests/v1"
    answers = [
        lab.call("PUT", path, raw, Content_Type=OCI_MANIFEST, If_None_Match="*")
        for raw in (first, other, first)
    ]
    assert [answer.status for answer in answers] == [201, 412, 201]
    assert b"PRECONDITION" in answers[1].body
    assert lab.call("GET", path, Accept=OCI_MANIFEST).body == first
    told = lab.call("PUT", path, other, Content_Type=OCI_MANIFEST, If_None_Match='"sha256:0"')
    assert told.status == 201  # what is not there may be moved
