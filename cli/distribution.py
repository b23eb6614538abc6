"""Which Ferry is installed, and whether the distribution that it was in before is installed beside it."""

from __future__ import annotations

import sys
from pathlib import Path

NAME = "ferry-registry"
VERSION = "0.2.0"  # as pyproject.toml says it: to ask what is installed takes what a small command takes
_BEFORE = "modelferry"  # until 0.1; the name belongs to somebody else
_PROGRAM = "cli.main:main"


def about() -> dict[str, str]:
    """The versions that a report of a bug should name."""
    import platform

    return {"version": VERSION, "python": platform.python_version(), "system": platform.system()}


def line() -> str:
    """`about` in one line."""
    return "ferry {version} (Python {python}, {system})".format_map(about())


def former() -> str:
    """A sentence for the person whose environment still holds Ferry under its former name, or ""."""
    if not any(any(Path(place).glob(f"{_BEFORE}-*")) for place in sys.path):
        return ""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(_BEFORE)
    except PackageNotFoundError:
        return ""
    if all(point.value != _PROGRAM for point in found.entry_points):
        return ""  # somebody else's package of that name
    return (
        f"the distribution {_BEFORE} is installed too and owns the same files: "
        f"pip uninstall {_BEFORE}, then install Ferry again"
    )
