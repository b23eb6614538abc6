"""The hops on this machine that a transfer ends at: the store, its disk, and Ollama beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from registry.diagnose.asking import asked
from registry.diagnose.findings import Finding, note, ok
from registry.disk import files
from registry.disk.failures import existing
from registry.errors import Reason, RegistryError, StorageError
from registry.model.amounts import amount
from registry.model.manifests import Manifest
from registry.targets.store import Store
from registry.wire import faults
from registry.wire.messages import Origin, Request, Transport

_SCARCE = 10**9  # bytes: a model hardly fits
_TRIED = 4096  # bytes that are written


def store(models: Path, manifest: Manifest | None) -> Finding:
    """Whether models can be kept in the directory `models`, and this one fits beside what is there.

    Where the store exists, a small file is written into it and removed. StorageError.
    """
    free = files.free_bytes(models)
    if not models.is_dir():
        _check_access(existing(models))
        return ok("store", f"{models} is not there yet; {amount(free)} free")
    for folder in filter(Path.is_dir, (models, models / "blobs", models / "manifests")):
        _check_access(folder)
    _write_and_remove(models)
    if manifest is not None:
        Store(models).room_for_rest(manifest)
    seen = f"{models}, {amount(free)} free"
    if free < _SCARCE:
        error = StorageError(seen, reason=Reason.STORE_FULL, detail=amount(_SCARCE - free))
        return note("store", seen, error)
    return ok("store", seen)


def _check_access(folder: Path) -> None:
    if not folder.is_dir():
        raise StorageError(f"{folder} is not a directory", hint="choose another place for the store")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"{folder} cannot be written to by this user",
            hint=f"ls -ld {folder} shows whose it is; another place can be chosen for the store",
        )


def _write_and_remove(models: Path) -> None:
    drafts = models / ".ferry" / "drafts"
    owner = files.owner_to_keep(models)
    tried = drafts / "tried"
    files.write_atomic(tried, bytes(_TRIED), scratch=drafts, owner=owner)
    files.remove(tried)


def ollama(bare: Transport, origin: Origin) -> Finding:
    """Whether Ollama runs at `origin`; that it does not is no fault."""
    try:
        answer, body = asked(bare, Request("GET", f"{origin}/api/version"))
        version = json.loads(body)["version"]
    except RegistryError as error:
        return ok("ollama", f"not running ({error.message})")
    except (ValueError, LookupError, TypeError):
        return note("ollama", f"{origin} answers ({answer.status}), and is not Ollama")
    return ok("ollama", faults.printable(f"{version} runs at {origin.netloc}")[:200])
