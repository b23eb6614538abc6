"""How a list of referrers names a manifest: made once, when it is pushed."""

from __future__ import annotations

import json

from registry.model.manifests import Manifest


def artifact_type(manifest: Manifest) -> str:
    """Its own, else its config's media type (OCI distribution 1.1, "Listing Referrers")."""
    return manifest.artifact_type or (manifest.config.media_type if manifest.config else "")


def descriptor(manifest: Manifest) -> str:
    """How a list of referrers names it: compact JSON (OCI distribution 1.1, "Listing Referrers")."""
    entry = manifest.descriptor().as_json()
    if artifact_type(manifest):
        entry["artifactType"] = artifact_type(manifest)
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return json.dumps(entry, separators=(",", ":"))
