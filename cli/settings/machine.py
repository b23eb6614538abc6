"""What kind of machine this is to the person at it: a screen, a line from elsewhere, a container."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_SSH = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_MOUNTS = Path("/proc/self/mountinfo")
_PASSING = frozenset({"overlay", "aufs", "tmpfs", "ramfs", "fuse-overlayfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")


def has_screen(environ: Mapping[str, str]) -> bool:
    """Whether a browser that is opened here would be seen by the person who typed the command."""
    if any(environ.get(name) for name in _SSH):
        return False
    return sys.platform == "darwin" or any(environ.get(name) for name in _SCREENS)


def account() -> str:
    """The name of this process's account at this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an arbitrary user in a container
        return "this user"


def in_container(environ: Mapping[str, str]) -> bool:
    """Whether this process is in a container, as far as one can tell."""
    return bool(environ.get("container")) or any(path.exists() for path in _CONTAINERS)


def passing_storage(path: Path, mounts: str) -> str:
    """The kind of filesystem `path` is on where it goes with the container (`overlay`, `tmpfs`), else "".

    `mounts` is the text of `/proc/self/mountinfo` (proc(5)).
    """
    inside = [path, *path.parents]
    found = [mount for mount in _mounted(mounts) if mount[0] in inside]
    kind = max(found, key=lambda mount: len(mount[0].parts))[1] if found else ""
    return kind if kind in _PASSING else ""


def mounts() -> str:
    """The text of this process's `mountinfo`; "" where there is none."""
    try:
        return _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return ""


def _mounted(text: str) -> list[tuple[Path, str]]:
    """Mount points and the kinds of filesystem on them, the later one last."""
    found = []
    for line in text.splitlines():
        before, dash, behind = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 4:
            point = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
            found.append((Path(point), behind.split(" ")[0]))
    return found
