"""A malformed digest, tag or name is said to be one, by the specification's codes."""

from __future__ import annotations

import json

import pytest
from labs import Lab

from registry.model.digests import Digest
from registry.model.manifests import OCI_MANIFEST

DIGEST = Digest.of(b"x")
WRONG_DIGESTS = (
    "sha256:0",
    f"sha256:{'G' * 64}",
    f"sha256:{DIGEST.hex.upper()}",
    f"md5:{'0' * 32}",
    "sha256:",
)
ASKED = [
    *[
        (method, f"blobs/{each}", "DIGEST_INVALID")
        for method in ("HEAD", "GET", "DELETE")
        for each in WRONG_DIGESTS
    ],
    *[("POST", f"blobs/uploads/?digest={each}", "DIGEST_INVALID") for each in WRONG_DIGESTS],
    *[("GET", f"referrers/{each}", "DIGEST_INVALID") for each in WRONG_DIGESTS],
    *[("GET", f"manifests/{each}", "DIGEST_INVALID") for each in WRONG_DIGESTS],
    *[
        (method, f"manifests/{tag}", "TAG_INVALID")
        for method in ("GET", "PUT", "DELETE")
        for tag in ("-a", ".a", "a" * 129, "a%20b", "%C3%A4")
    ],
]
NAMES = ("a%20b", "-a", "acme/-tiny", "acme//tiny", f"{'a' * 200}/{'b' * 100}")


@pytest.mark.parametrize(("method", "place", "code"), ASKED)
def test_what_is_malformed_is_called_that(lab: Lab, method: str, place: str, code: str) -> None:
    body = b"{}" if method in ("PUT", "POST") else None
    answer = lab.call(method, f"/v2/acme/tiny/{place}", body, Content_Type=OCI_MANIFEST)
    assert answer.status == 400
    if method != "HEAD":
        assert [each["code"] for each in json.loads(answer.body)["errors"]] == [code]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["manifests/latest", "tags/list", f"blobs/{DIGEST}", f"referrers/{DIGEST}"])
def test_a_name_that_is_none_is_called_that(lab: Lab, name: str, place: str) -> None:
    answer = lab.call("GET", f"/v2/{name}/{place}")
    assert answer.status == 400
    assert [each["code"] for each in json.loads(answer.body)["errors"]] == ["NAME_INVALID"]
