"""A registry asked over HTTP, as any client does."""

from __future__ import annotations

import json
from dataclasses import dataclass

from peers import Answer, http_call

from registry.model.digests import Digest
from registry.model.manifests import OCI_MANIFEST


@dataclass(frozen=True)
class Lab:
    """A registry at `url` where everything may be done without a token."""

    url: str

    def call(self, method: str, path: str, body: bytes | None = None, **fields: str) -> Answer:
        """Header names are written with `_`."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return http_call(method, path if "://" in path else self.url + path, body, headers)

    def begin(self, repository: str = "acme/tiny") -> str:
        """The URL of a new upload."""
        begun = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202
        return begun.headers["location"]

    def blob(self, data: bytes, repository: str = "acme/tiny") -> str:
        """Push a blob in one request; its path."""
        digest = Digest.of(data)
        assert self.call("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data).status == 201
        return f"/v2/{repository}/blobs/{digest}"

    def manifest(self, *layers: bytes, repository: str = "acme/tiny") -> bytes:
        """A manifest whose blobs are pushed."""
        for data in (b"{}", *layers):
            self.blob(data, repository)
        described = [{"digest": str(Digest.of(data)), "size": len(data)} for data in (b"{}", *layers)]
        config, *rest = described
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", **config},
            "layers": [{"mediaType": "application/octet-stream", **each} for each in rest],
        }
        return json.dumps(document).encode()
