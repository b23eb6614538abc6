"""What a mirror of many works with: a name at both its ends, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry.contracts import Referring
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.names import Name


class Outcome(StrEnum):
    """What became of a name."""

    COPIED = "copied"
    PRESENT = "present"
    FAILED = "failed"
    GONE = "gone"  # its source's list named it, and by now does no more


class Referrers(StrEnum):
    """When what refers to a manifest goes along: with what changed, for one more question each, or never."""

    CHANGED = "changed"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Pair:
    """One name at its source, and where it goes; what the two lists said of it, where they said something.

    `said` is the digest at the source, `was` the one at the destination, which `listed` says is known; `near`
    a name there that holds the blobs. `attached`: the source's tags under which clients keep what refers to a
    manifest, sorted; None where its tags are not known.
    """

    source: Referring
    name: Name
    destination: Referring
    to: Name
    near: Name | None = None
    said: Digest | None = None
    was: Digest | None = None
    listed: bool = False
    attached: tuple[str, ...] | None = None
    referrers: Referrers = Referrers.CHANGED

    @property
    def at_source(self) -> str:
        """For people and programs: `HOST/REPOSITORY:TAG`."""
        return _shown(self.name)

    @property
    def at_destination(self) -> str:
        """For people and programs: `HOST/REPOSITORY:TAG`."""
        return _shown(self.to)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Names that could not be told: a source's list failed."""

    source: str
    destination: str
    error: RegistryError


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one name: the digest it has now, the one it had, and the bytes that moved.

    `would_move`, `would_mount`: of a run that only looks, the bytes that would move, and those that another
    repository of the destination has by then, to be mounted.
    """

    source: str
    destination: str
    outcome: Outcome
    digest: Digest | None = None
    was: Digest | None = None
    transferred: int = 0
    would_move: int = 0
    would_mount: int = 0
    error: RegistryError | None = None


def _shown(name: Name) -> str:
    reference = f"@{name.digest}" if name.digest else f":{name.tag}"
    return f"{name.host}/{name.repository}{reference}"
