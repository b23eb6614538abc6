"""A recording of what a program does to a disk, and what a power loss at any moment could leave of it.

Harsher than real filesystems: of what was not synced each write may be there, be torn or be missing, and each
new, changed or removed name may be or not be there, whatever the order in which they were made.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from registry.disk.system import System


@dataclass(frozen=True)
class Write:
    """`data` was written to the file `inode`; None: it was given `offset` bytes."""

    inode: int
    offset: int
    data: bytes | None


@dataclass(frozen=True)
class Change:
    """The name `path` became that of `inode` (None: nobody's), and `old`, if given, nobody's."""

    path: Path
    inode: int | None
    old: Path | None = None


@dataclass(frozen=True)
class Made:
    """The directory `path` was made."""

    path: Path


@dataclass(frozen=True)
class Sync:
    """A file (by inode) or the names in a directory (by path) were made durable."""

    what: int | Path


@dataclass(frozen=True)
class Promise:
    """From here on `text` must be true after a power loss."""

    text: str


Event = Write | Change | Made | Sync | Promise


@dataclass
class Recorder(System):
    """Does everything for real, and remembers it."""

    events: list[Event] = field(default_factory=list)
    _open: dict[int, int | Path] = field(default_factory=dict)  # descriptor -> inode, or directory
    _inodes: dict[Path, int] = field(default_factory=dict)
    _count: int = 0

    def promise(self, text: str) -> None:
        self.events.append(Promise(text))

    def open(self, path: Path, flags: int, mode: int = 0o644) -> int:
        new = bool(flags & os.O_CREAT) and not path.exists()
        handle = super().open(path, flags, mode)
        if flags & os.O_DIRECTORY:
            self._open[handle] = path
            return handle
        if new:
            self._count += 1
            self._inodes[path] = self._count
            self.events.append(Change(path, self._count))
        self._open[handle] = self._inodes[path]
        return handle

    def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        written = super().pwrite(handle, data, offset)
        self._write(handle, offset, bytes(data[:written]))
        return written

    def truncate(self, handle: int, size: int) -> None:
        super().truncate(handle, size)
        self._write(handle, size, None)

    def allocate(self, handle: int, size: int) -> None:
        """Leaves it to `truncate`, as where room cannot be promised."""

    def sync(self, handle: int) -> None:
        self.events.append(Sync(self._open[handle]))

    def sync_data(self, handle: int) -> None:
        self.sync(handle)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._inodes[new] = self._inodes.pop(old)
        self.events.append(Change(new, self._inodes[new], old))

    def link(self, old: Path, new: Path) -> None:
        super().link(old, new)
        self._inodes[new] = self._inodes[old]
        self.events.append(Change(new, self._inodes[new]))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._inodes.pop(path, None)
        self.events.append(Change(path, None))

    def mkdir(self, path: Path, mode: int) -> None:
        super().mkdir(path, mode)
        self.events.append(Made(path))

    def _write(self, handle: int, offset: int, data: bytes | None) -> None:
        inode = self._open[handle]
        assert isinstance(inode, int)
        self.events.append(Write(inode, offset, data))


def power_loss(events: list[Event], chance: random.Random) -> tuple[dict[Path, bytes], set[str]]:
    """The files that could be there if power failed after `events`, and what was promised by then."""
    contents: dict[int, bytearray] = {}
    names: dict[Path, int] = {}
    lost: set[Path] = set()
    for number, event in enumerate(events):
        after = events[number + 1 :]
        if isinstance(event, Write):
            _write(contents.setdefault(event.inode, bytearray()), event, Sync(event.inode) in after, chance)
        elif isinstance(event, Change) and (Sync(event.path.parent) in after or chance.random() < 0.5):
            if event.old is not None and names.get(event.old) == event.inode:
                del names[event.old]
            if event.inode is None:
                names.pop(event.path, None)
            else:
                names[event.path] = event.inode
        elif isinstance(event, Made) and Sync(event.path.parent) not in after and chance.random() < 0.5:
            lost.add(event.path)
    promised = {event.text for event in events if isinstance(event, Promise)}
    there = {path: inode for path, inode in names.items() if lost.isdisjoint(path.parents)}
    return {path: bytes(contents.get(inode, b"")) for path, inode in there.items()}, promised


def _write(content: bytearray, event: Write, safe: bool, chance: random.Random) -> None:
    data = event.data
    if not safe:
        fate = chance.choice(["there", "torn", "garbage", "missing"])
        if fate == "missing":
            return
        if data is not None and fate == "torn":
            data = data[: chance.randrange(len(data) + 1)]
        elif data is not None and fate == "garbage":  # the size was updated, the bytes were not
            data = bytes(len(data))
    if data is None:
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    content.extend(bytes(max(0, event.offset - len(content))))
    content[event.offset : event.offset + len(data)] = data


def restore(files: dict[Path, bytes], recorded: Path, to: Path) -> None:
    """Put what is left of the tree `recorded` into the new directory `to`."""
    to.mkdir(parents=True)
    for path, content in files.items():
        place = to / path.relative_to(recorded)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o644)
