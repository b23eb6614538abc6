"""Every registry that people use, as a row: 60 MB go there and come back, or one sentence says why not."""

from __future__ import annotations

import pytest
from real_registries import SIZE, Client, weights
from registry_double import MiB, Quirks, Registry

from registry.errors import ProtocolError, RegistryError, StorageError
from registry.targets.methods import Learned, Method

Refusal = tuple[type[RegistryError], str]

# A registry that takes the push: its quirks, and how many times the size may be sent the first time.
TAKEN: dict[str, tuple[Quirks, float]] = {
    "as specified": (Quirks(), 1.0),
    "GHCR: 416 above 4 MiB": (Quirks(ranged_limit=4 * MiB, uploads="upload"), 1.3),
    "Google: no chunks, 416": (Quirks(ranged=(416, "", "")), 1.3),
    "no chunks, 405": (Quirks(ranged=(405, "UNSUPPORTED", "chunked uploads")), 1.3),
    "no chunks, 400": (Quirks(ranged=(400, "BLOB_UPLOAD_INVALID", "no Content-Range")), 1.3),
    "no PATCH at all": (Quirks(patch=(405, "UNSUPPORTED", "use PUT")), 2.3),
    "no PATCH, 404": (Quirks(patch=(404, "", "no such page")), 2.6),
    "Azure: no PUT above 20 MB": (Quirks(put_limit=20_000_000), 1.0),
    "Azure: no PUT above 20 MB, closes": (Quirks(put_limit=20_000_000, closes=True), 1.0),
    "ECR: Range stands still": (Quirks(told="first chunk"), 1.0),
    "ECR: empty closing PUT 500": (Quirks(empty_closing=(500, "UNKNOWN", "oops")), 2.0),
    "Aliyun: Range of the chunk": (Quirks(told="chunk"), 1.0),
    "zot: Range smaller than what it holds": (Quirks(told="less"), 1.0),
    "Range in words": (Quirks(told="words"), 1.0),
    "no Range": (Quirks(told=""), 1.0),
    "Artifactory: keeps the last chunk": (Quirks(keeps="last chunk"), 2.0),
    "keeps the last chunk, says SIZE_INVALID": (
        Quirks(keeps="last chunk", wrong=(400, "SIZE_INVALID", "size differs")),
        2.0,
    ),
    "Quay: one body of at most 20 GB": (Quirks(body_limit=20 * 1000**3), 1.0),
    "nginx: 1 MiB": (Quirks(body_limit=MiB), 2.0),
    "nginx: 20 MB": (Quirks(body_limit=20_000_000), 1.0),
    "a proxy that closes at 5 MB": (Quirks(body_limit=5_000_000, closes=True), 1.5),
    "Pulp: one PATCH, an empty PUT": (
        Quirks(ranged=(400, "", "no chunks"), full_closing=(400, "", "the PUT must be empty")),
        1.3,
    ),
    "chunks only": (
        Quirks(put_limit=1000, refuses_mounts=True),
        1.0,
    ),
    "no mount from where it goes": (Quirks(refuses_mounts=True), 1.0),
    "416 to the second part": (Quirks(patch=(416, "RANGE_INVALID", ""), patches_taken=1), 3.0),
    "loses each upload after three parts": (Quirks(vanishes_after=3), 3.0),
}


@pytest.mark.parametrize("row", TAKEN)
def test_a_push_and_a_pull_are_done_and_the_next_push_goes_the_way_that_worked(row: str) -> None:
    quirks, times = TAKEN[row]
    client = Client(Registry(quirks))

    client.push()

    assert client.registry.received <= times * SIZE + 10_000
    assert client.time.now < 1100
    assert client.pull() == weights()[0]

    client.registry.blobs.clear()
    client.registry.received = 0
    client.time.notes.clear()

    client.push()

    if not quirks.closes:  # a connection that is closed says nothing of a limit
        assert client.registry.received <= SIZE + 10_000
        assert client.time.notes == []


# A registry that does not take it: what the error is, and words of its sentence.
REFUSED: dict[str, tuple[Quirks, Refusal]] = {
    "413 at 1,000 bytes": (
        Quirks(body_limit=1000),
        (ProtocolError, "the proxy or registry at models.example takes no body of 1 MiB"),
    ),
    "Quay in small: a whole body above its limit, and no chunks": (
        Quirks(ranged=(416, "RANGE_INVALID", "no chunks"), body_limit=20_000_000),
        (ProtocolError, "the proxy or registry at models.example takes no body of 60000000 bytes (413)"),
    ),
    "every body is refused": (
        Quirks(patch=(405, "UNSUPPORTED", "no"), full_closing=(405, "UNSUPPORTED", "no")),
        (ProtocolError, "in no way that Ferry knows"),
    ),
    "OCI only: 415": (
        Quirks(manifest=(415, "", "unsupported media type")),
        (ProtocolError, "docker.distribution.manifest.v2"),
    ),
    "OCI only: MANIFEST_INVALID": (
        Quirks(manifest=(400, "MANIFEST_INVALID", "manifest invalid")),
        (ProtocolError, "docker.distribution.manifest.v2"),
    ),
    "ECR: foreign layer types": (
        Quirks(manifest=(405, "UNSUPPORTED", "Invalid JSON syntax")),
        (ProtocolError, "Invalid JSON syntax"),
    ),
    "Harbor: an immutable tag": (
        Quirks(manifest=(412, "PRECONDITION", "tag is immutable")),
        (ProtocolError, "PRECONDITION tag is immutable"),
    ),
    "a full disk: 507": (Quirks(full_after=30_000_000), (StorageError, "models.example has no space left")),
    "Harbor: a quota": (
        Quirks(
            full_after=30_000_000,
            full=(403, "DENIED", "adding 10.0 MiB of storage resource, which when updated to current usage "
                  "will exceed the configured upper limit of 30.0 MiB"),
        ),
        (StorageError, "models.example has no space left"),
    ),
    "CNCF: its disk is full": (
        Quirks(full_after=30_000_000, full=(500, "UNKNOWN", "write /var/lib: no space left on device")),
        (StorageError, "no space left on device"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_a_push_that_is_refused_ends_with_a_true_sentence(row: str) -> None:
    quirks, (kind, words) = REFUSED[row]
    client = Client(Registry(quirks))

    with pytest.raises(RegistryError) as caught:
        client.push()

    assert type(caught.value) is kind, caught.value
    assert words in str(caught.value)
    assert "newer client" not in str(caught.value)
    assert client.time.now < 1100
    assert client.registry.received < 2.5 * SIZE


def test_smaller_parts_are_sent_without_a_pause() -> None:
    client = Client(Registry(Quirks(body_limit=MiB)))

    client.push()

    assert "takes no body of 16 MiB (413); sending 8 MiB at a time" in client.time.notes[0]
    assert not [note for note in client.time.notes if "trying again" in note]


def test_what_worked_is_known_to_every_later_process() -> None:
    client = Client(Registry(Quirks(keeps="last chunk")))
    client.push()

    known = client.methods.get("https://models.example large")

    assert known == Learned(Method.PATCH, 1024 * MiB, known.since if known else 0.0)
    assert client.methods.get("https://models.example small") is None
