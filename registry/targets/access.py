"""What a request to a registry asks the right for: reading or writing where a name is."""

from __future__ import annotations

from registry.model.names import Name
from registry.wire.messages import Access


def reading(name: Name) -> Access:
    """The right to read where `name` is."""
    return Access(name.repository)


def writing(name: Name, mounted_from: str = "") -> Access:
    """The right to write where `name` is, and to take a blob over from another repository there."""
    return Access(name.repository, ("pull", "push"), mounted_from)
