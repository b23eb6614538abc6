"""Manifests: exact bytes kept, every limit an error that names the field, never a crash or a hang."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.model.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_BYTES,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Kind,
    Manifest,
    image,
)

ONE, TWO = Digest.of(b"one"), Digest.of(b"two!")


def blob(digest: Any = ONE, size: Any = 3, media_type: Any = "application/x") -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": str(digest) if isinstance(digest, Digest) else digest,
        "size": size,
    }


def document(**changes: Any) -> dict[str, Any]:
    whole = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": blob(TWO, 4), "layers": [blob()]}
    whole.update(changes)
    return {key: value for key, value in whole.items() if value is not ...}


def raw(**changes: Any) -> bytes:
    return json.dumps(document(**changes)).encode()


def test_in_a_list_of_referrers_its_type_and_annotations_stand_too() -> None:
    plain = Manifest.parse(raw())
    told = Manifest.parse(raw(artifactType="application/y", annotations={"key": "value"}))

    assert plain.as_referrer().fields == {**plain.descriptor().as_json(), "artifactType": "application/x"}
    assert told.as_referrer().fields == {
        **told.descriptor().as_json(),
        "artifactType": "application/y",
        "annotations": {"key": "value"},
    }


# --- read ----------------------------------------------------------------------------------------------


def test_an_ollama_manifest_is_read_and_kept_exactly() -> None:
    spelled = b' {"schemaVersion": 2 , "x":1.0, ' + raw()[len('{"schemaVersion": 2, ') :] + b"\n\n"

    manifest = Manifest.parse(spelled)

    assert manifest.raw == spelled
    assert manifest.digest == Digest.of(spelled)
    assert [item.digest for item in manifest.blobs()] == [ONE, TWO]
    assert (manifest.total, manifest.size, manifest.kind) == (7, len(spelled), Kind.IMAGE)


@pytest.mark.parametrize("layers", [None, ...])
def test_a_cloud_model_has_no_layers(layers: Any) -> None:
    assert Manifest.parse(raw(layers=layers)).layers == ()


@pytest.mark.parametrize(
    ("content", "content_type", "media_type", "kind"),
    [
        (raw(mediaType=...), OCI_MANIFEST, OCI_MANIFEST, Kind.IMAGE),
        (raw(mediaType=...), "text/plain; charset=utf-8", OCI_MANIFEST, Kind.IMAGE),
        (raw(mediaType=...), f"{DOCKER_MANIFEST}; charset=utf-8", DOCKER_MANIFEST, Kind.IMAGE),
        (raw(mediaType=OCI_MANIFEST), "", OCI_MANIFEST, Kind.IMAGE),
        (raw(mediaType=OCI_MANIFEST), "application/json", OCI_MANIFEST, Kind.IMAGE),
        (b'{"schemaVersion":2,"manifests":[]}', "", OCI_INDEX, Kind.INDEX),
        (
            raw(mediaType=DOCKER_INDEX, config=..., layers=..., manifests=[blob()]),
            "",
            DOCKER_INDEX,
            Kind.INDEX,
        ),
        (raw(mediaType=OCI_ARTIFACT, config=..., layers=..., blobs=[blob()]), "", OCI_ARTIFACT, Kind.IMAGE),
    ],
)
def test_oci_manifests_indexes_and_artifacts_are_read_too(
    content: bytes, content_type: str, media_type: str, kind: Kind
) -> None:
    manifest = Manifest.parse(content, content_type=content_type)

    assert (manifest.media_type, manifest.kind) == (media_type, kind)


def test_a_subject_and_foreign_layers_need_not_be_there() -> None:
    foreign = blob(TWO, 4, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    manifest = Manifest.parse(raw(config=blob(), layers=[foreign], subject=blob(Digest.of(b"x"), 1)))

    assert [item.digest for item in manifest.blobs()] == [ONE]


def test_a_blob_named_twice_moves_once() -> None:
    assert [item.digest for item in Manifest.parse(raw(layers=[blob(), blob(), blob(TWO, 4)])).blobs()] == [
        ONE,
        TWO,
    ]


def test_a_new_image_is_written_as_ollama_writes_it() -> None:
    made = image(Descriptor("c", TWO, 4), [blob()])

    assert made.raw == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        b'"config":{"mediaType":"c","digest":"%s","size":4},'
        b'"layers":[{"mediaType":"application/x","digest":"%s","size":3}]}\n'
        % (str(TWO).encode(), str(ONE).encode())
    )


# --- refused -------------------------------------------------------------------------------------------

BACKSLASHES = b'{"a":"' + b'\\"' * (MANIFEST_BYTES // 2 - 8)
HOSTILE = {
    "empty": b"",
    "not JSON": b"<html>404</html>",
    "half of one": raw()[:-20],
    "two of them": raw() + raw(),
    "a list": b"[]",
    "a number": b"2",
    "null": b"null",
    "not UTF-8": b'{"schemaVersion":2,"x":"\xff"}',
    "half of a surrogate pair": raw(artifactType="\ud800"),
    "half of one deep inside": raw(annotations={"x": ["\udc00\ud800"]}),
    "UTF-16": json.dumps(document()).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + raw(),
    "too long": raw() + b" " * MANIFEST_BYTES,
    "NaN": raw().replace(b'"size": 3', b'"size": NaN'),
    "Infinity": raw().replace(b'"size": 3', b'"size": Infinity'),
    "duplicate keys": raw()[:-1] + b',"layers":[]}',
    "duplicate keys deep inside": raw(x={"y": 1}).replace(b'{"y": 1}', b'{"y":1,"y":1}'),
    "100k deep in lists": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100k deep in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep in what is never closed": b"[" * 4_000_000,
    "a string that never ends": BACKSLASHES,
    "a million layers": raw(layers=[]).replace(b"[]", b"[" + b",".join([b"{}"] * 1_000_000) + b"]"),
    "60,000 layers": raw(layers=["x"] * 60_000),
    "a number of a million digits": raw().replace(b'"size": 3', b'"size": ' + b"9" * 1_000_000),
    "no schema version": raw(schemaVersion=...),
    "schema version 1": raw(schemaVersion=1),
    "schema version true": raw(schemaVersion=True),
    "schema version 2.0": raw(schemaVersion=2.0),
    "schema version in text": raw(schemaVersion="2"),
    "a schema 1 manifest": raw(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"),
    "another media type": raw(mediaType="text/html"),
    "a media type that is a number": raw(mediaType=7),
    "image and index at once": raw(manifests=[]),
    "an index with a config": raw(mediaType=OCI_INDEX, manifests=[], layers=...),
    "no config": raw(config=...),
    "config null": raw(config=None),
    "config a list": raw(config=[]),
    "config a text": raw(config=str(ONE)),
    "layers an object": raw(layers={}),
    "layers a text": raw(layers="abc"),
    "a layer null": raw(layers=[None]),
    "a layer a list": raw(layers=[[]]),
    "a layer without digest": raw(layers=[{"mediaType": "x", "size": 3}]),
    "a digest null": raw(layers=[blob(None)]),
    "a digest a number": raw(layers=[blob(7)]),
    "a digest with a path": raw(layers=[blob("sha256:../../../../etc/passwd")]),
    "a digest in capitals": raw(layers=[blob(f"sha256:{ONE.hex.upper()}")]),
    "a digest too short": raw(layers=[blob(f"sha256:{ONE.hex[1:]}")]),
    "a digest of md5": raw(layers=[blob("md5:" + "0" * 32)]),
    "a digest with a line end": raw(layers=[blob(f"{ONE}\n")]),
    "no size": raw(layers=[{"mediaType": "x", "digest": str(ONE)}]),
    "a size null": raw(layers=[blob(size=None)]),
    "a size in text": raw(layers=[blob(size="3")]),
    "a size true": raw(layers=[blob(size=True)]),
    "a size with a point": raw(layers=[blob(size=3.0)]),
    "a size in tens": raw().replace(b'"size": 3', b'"size": 3e0'),
    "a negative size": raw(layers=[blob(size=-1)]),
    "a size beyond 2**53": raw(layers=[blob(size=2**53)]),
    "a size beyond 2**64": raw(layers=[blob(size=2**64)]),
    "two sizes for one digest, the larger one last": raw(layers=[blob(), blob(size=4)]),
    "two sizes for one digest, the smaller one last": raw(layers=[blob(size=4), blob()]),
    "a config that is a layer of another size": raw(layers=[blob(TWO, 5)]),
    "a media type that is a list": raw(layers=[blob(media_type=[])]),
    "a media type of 300 letters": raw(layers=[blob(media_type="x" * 300)]),
    "a subject that is a text": raw(subject="x"),
    "a subject without size": raw(subject={"digest": str(ONE)}),
    "annotations a list": raw(annotations=[]),
    "annotations of numbers": raw(annotations={"a": 1}),
    "an artifact type that is a number": raw(artifactType=1),
    "an index of texts": raw(mediaType=OCI_INDEX, config=..., layers=..., manifests=["x"]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_manifest_is_one_clear_error_and_costs_no_time(case: str) -> None:
    began = time.process_time()

    with pytest.raises(InvalidError) as caught:
        Manifest.parse(HOSTILE[case])

    assert time.process_time() - began < 5
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"layers": [blob(), blob(size=-1)]}, "layers[1].size"),
        ({"config": blob("x")}, "config.digest"),
        ({"subject": {}}, "subject.size"),
        ({"annotations": []}, "annotations"),
        ({"mediaType": 1}, "mediaType"),
    ],
)
def test_an_error_names_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidError, match=f"manifest.{field}".replace("[", r"\[")):
        Manifest.parse(raw(**change))


def test_a_manifest_of_twenty_thousand_layers_is_read() -> None:
    layers = [blob(Digest.of(str(number).encode()), 3) for number in range(20_000)]

    assert len(Manifest.parse(raw(layers=layers)).layers) == 20_000


def test_a_manifest_that_is_not_its_digests_is_refused() -> None:
    with pytest.raises(InvalidError):
        Manifest.parse(raw(), digest=ONE)
    assert Manifest.parse(raw(), digest=Digest.of(raw(), "sha512")).digest.algorithm == "sha512"


def test_a_manifest_sent_as_another_type_is_refused() -> None:
    with pytest.raises(InvalidError):
        Manifest.parse(raw(), content_type=OCI_INDEX)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "subject", "annotations", "x"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # making the first documents takes a moment
@given(st.dictionaries(KEYS, JSON | st.just(2) | st.just([blob()]) | st.just(blob(TWO, 4)), max_size=6))
def test_no_document_crashes_the_reader(found: dict[str, Any]) -> None:
    content = json.dumps(found).encode()
    try:
        manifest = Manifest.parse(content)
    except InvalidError as error:
        assert error.message.isprintable()
    else:
        assert manifest.raw == content


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    with pytest.raises(InvalidError):
        Manifest.parse(content)


@pytest.mark.parametrize(("end", "other"), [(b"", b"\n"), (b"\n", b"")])
def test_a_manifest_is_known_by_what_ollama_makes_of_its_end_too(end: bytes, other: bytes) -> None:
    assert Manifest.parse(raw() + end).with_or_without_newline() == Digest.of(raw() + other)
