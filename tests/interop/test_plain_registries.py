"""Registries that never heard of direct uploads: asked for one, they open a session like any other."""

from __future__ import annotations

import random

from peers import Registry

from registry.auth.credentials import Credentials
from registry.connect import Connections, Way
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.upload import UploadIntake


def test_a_registry_without_direct_upload_is_asked_and_takes_the_blob_the_ordinary_way(
    far_end: Registry,
) -> None:
    data = random.Random(1).randbytes(1024 * 1024)
    blob = Descriptor("application/octet-stream", Digest.of(data), len(data))
    name = Name.parse(f"{far_end.host}/asked/tiny:1")
    trace: list[str] = []
    connections = Connections(lambda _: Way(), Credentials(), trace=trace.append)
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
    assert [line.split()[1] for line in trace if line.startswith(">")] == ["POST", "PATCH", "PUT", "HEAD"]
