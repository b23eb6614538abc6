"""Which Ferry is installed, and whether the distribution that it was in before is installed beside it."""

from __future__ import annotations

from functools import cache

NAME = "ferry-registry"
_BEFORE = "modelferry"  # until 0.1; the name belongs to somebody else
_PROGRAM = "cli.main:main"


@cache
def version() -> str:
    """The version of what is installed; "unknown" where Ferry runs from a tree that nobody installed."""
    from importlib.metadata import PackageNotFoundError  # here: it costs what a small command takes
    from importlib.metadata import version as installed

    try:
        return installed(NAME)
    except PackageNotFoundError:
        return "unknown"


def about() -> dict[str, str]:
    """The versions that a report of a bug should name."""
    import platform

    return {"version": version(), "python": platform.python_version(), "system": platform.system()}


def line() -> str:
    """`about` in one line."""
    return "ferry {version} (Python {python}, {system})".format_map(about())


def former() -> str:
    """A sentence for the person whose environment still holds Ferry under its former name, or ""."""
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
