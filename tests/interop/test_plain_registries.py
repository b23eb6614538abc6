"""Registries that never heard of direct uploads: asked for one, they open a session like any other."""

from __future__ import annotations

import random

from peers import Registry
from sample_models import Model, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.upload import UploadIntake
from registry.transfer.copy import copy
from registry.transfer.options import Options


def test_a_registry_without_direct_upload_is_asked_and_takes_the_blob_the_ordinary_way(
    far_end: Registry,
) -> None:
    data = random.Random(1).randbytes(1024 * 1024)
    blob = Descriptor("application/octet-stream", Digest.of(data), len(data))
    name = Name.parse(f"{far_end.host}/asked/tiny:1")
    trace: list[str] = []
    connections = Registries(lambda _: HostSettings(), Credentials(), trace=trace.append)
    try:
        remote = connections.remote(name)
        intake = remote.receive(name, blob, None)
        assert isinstance(intake, UploadIntake)
        intake.write(Span(0, len(data)), [data])
        intake.commit()
        size = remote.size(name, blob)
    finally:
        connections.close()

    assert size == len(data)
    assert [line.split()[1] for line in trace if line.startswith(">")] == [
        "HEAD",
        "POST",
        "PATCH",
        "PUT",
        "HEAD",
    ]


def test_a_small_blob_costs_two_requests_and_one_when_it_is_there(far_end: Registry) -> None:
    """One in any case at ours, while the repository is new."""
    name = Name.parse(f"{far_end.host}/small/tiny:1")
    source, model = Memory(), Model.random(7, 10, 2000, 60_000)
    put(source, name, model)
    trace: list[str] = []
    connections = Registries(lambda _: HostSettings(), Credentials(), trace=trace.append)

    def push(tag: str) -> tuple[set[How], list[str]]:
        trace.clear()
        to = name.with_reference(tag)
        report = copy(source, connections.remote(to), name, to=to, options=Options(jobs=1))
        methods = [line.split()[1] for line in trace if line.startswith(">") and "/blobs/" in line]
        return {item.how for item in report.blobs}, methods

    try:
        first, again, moved = push("1"), push("1"), push("2")
    finally:
        connections.close()

    count = len(list(model.manifest.blobs()))
    new = ["POST"] if far_end.kind == "ferry serve" else ["POST", "PUT"]
    assert first == ({How.UPLOADED}, new * count)
    assert again == ({How.PRESENT}, ["HEAD"] * count)  # the tag is as it will be: nothing is begun
    assert moved == ({How.PRESENT}, ["POST"] * count)
