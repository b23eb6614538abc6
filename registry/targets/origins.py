"""Where a model of the store was fetched from, or that it was made here; and what it was then.

So that a tag which moved here is told from one that moved there. A hint: losing it costs a question.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from registry.disk.files import Owner, read_bounded, remove, write_atomic
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.names import Name

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """The name that was asked for a model at its registry, and the digest it stood for.

    `name` is None where the model was made here, and no registry knows of it. `changed` is what the model was
    changed to here since, as far as that was seen: an origin that an older Ferry wrote does not say.
    """

    name: Name | None
    digest: Digest
    changed: Digest | None = None

    @property
    def here(self) -> Digest:
        """What the model was here when that was last seen."""
        return self.changed or self.digest


@dataclass(frozen=True, slots=True)
class Origins:
    """What is remembered in `directory`, one small file a name; drafts of them lie in `drafts`."""

    directory: Path
    drafts: Path
    owner: Owner | None

    def get(self, name: Name) -> ModelOrigin | None:
        """Where the model called `name` here came from; None where that is not known."""
        try:
            told = json.loads(read_bounded(self._path(name), _LONGEST))
            if told["name"] != _key(name):
                return None
            origin = None if told["origin"] is None else Name.parse(told["origin"])
            changed = Digest.parse(told["changed"]) if "changed" in told else None
            return ModelOrigin(origin, Digest.parse(told["digest"]), changed)
        except (RegistryError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def asked(self, name: Name) -> Name:
        """What a registry is asked for: the name the model was fetched by, else its own."""
        known = self.get(name)
        return known.name if known is not None and known.name is not None else name

    def put(self, name: Name, origin: ModelOrigin) -> None:
        """Remember it; where that is not possible, nothing fails."""
        if self.get(name) == origin:
            return
        asked = origin.name.text if origin.name is not None else None
        told = {"name": _key(name), "origin": asked, "digest": str(origin.digest)}
        if origin.changed is not None:
            told["changed"] = str(origin.changed)
        with contextlib.suppress(RegistryError):
            write_atomic(
                self._path(name),
                json.dumps(told).encode(),
                scratch=self.drafts,
                owner=self.owner,
                durably=False,
            )

    def put_made_here(self, name: Name, digest: Digest) -> None:
        """Remember that nobody need be asked for it; what came from somewhere else was changed here."""
        if not self.put_changed(name, digest):
            self.put(name, ModelOrigin(None, digest))

    def put_changed(self, name: Name, here: Digest) -> bool:
        """Remember what a model that came from a registry is `here`; False for one that did not."""
        known = self.get(name)
        if known is None or known.name is None:
            return False
        self.put(name, replace(known, changed=here if here != known.digest else None))
        return True

    def forget(self, name: Name) -> None:
        """No longer remember it."""
        with contextlib.suppress(RegistryError):
            remove(self._path(name))

    def _path(self, name: Name) -> Path:
        return self.directory / hashlib.sha256(_key(name).encode()).hexdigest()[:40]


def _key(name: Name) -> str:
    return "/".join(name.folded())
