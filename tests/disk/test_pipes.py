"""Small files that are pipes: `<(…)` of a shell, and a FIFO that nobody writes to."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from registry.disk.secrets import read_secret
from registry.errors import DeniedError, InvalidError


def written(path: Path, *pieces: bytes) -> threading.Thread:
    """A writer of `pieces` into the FIFO at `path`, that comes when it comes."""

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo", 0o600)
    return tmp_path / "fifo"


def test_what_comes_out_of_a_pipe_is_read_to_its_end_and_can_be_asked_for_again(fifo: Path) -> None:
    writer = written(fifo, b"se", b"cret")
    assert read_secret(fifo, 100) == b"secret"
    writer.join()
    assert read_secret(fifo, 100) == b"secret"


def test_a_pipe_of_a_shell_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    assert read_secret(Path(f"/dev/fd/{reader}"), 100) == b"secret"
    os.close(reader)


def test_a_pipe_out_of_which_nothing_comes_does_not_hang(fifo: Path) -> None:
    with pytest.raises(InvalidError, match=r"nothing came out of it for 0\.05 s"):
        read_secret(fifo, 100, patience=0.05)


def test_a_pipe_is_not_taken_for_one_whose_inode_it_got(fifo: Path) -> None:
    writer = written(fifo, b"secret")
    assert read_secret(fifo, 100) == b"secret"
    writer.join()
    moved = fifo.rename(fifo.with_name("other"))
    with pytest.raises(InvalidError, match="nothing came out of it"):
        read_secret(moved, 100, patience=0.05)


def test_a_pipe_has_the_limits_of_a_file(fifo: Path) -> None:
    writer = written(fifo, b"0123456789")
    with pytest.raises(InvalidError, match="longer than 9 bytes"):
        read_secret(fifo, 9)
    writer.join()
    fifo.chmod(0o644)
    with pytest.raises(DeniedError, match="others may touch it"):
        read_secret(fifo, 100)


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(InvalidError, match="is not a file"):
        read_secret(tmp_path, 9)
