"""Uploads are remembered between runs, privately, and a bad memory costs an upload, never correctness."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.sessions import AGE, Sessions, UploadSession, file_sessions, memory_sessions
from registry.targets.upload import UploadIntake
from registry.wire import faults
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

ROOT = Path(__file__).resolve().parents[2]
KEY = "https://models.example/acme/tiny@sha256:00"
SESSION = UploadSession("https://models.example/v2/acme/tiny/blobs/uploads/1?state=secret", 0, 1000.0)
NAME = Name.parse("models.example/acme/tiny:1")
DATA = bytes(range(256)) * 4096
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


@pytest.fixture(params=["memory", "files"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    return memory_sessions() if request.param == "memory" else file_sessions(tmp_path / "uploads")


def test_what_was_put_is_got_until_it_is_forgotten(sessions: Sessions) -> None:
    assert sessions.get(KEY) is None
    sessions.put(KEY, SESSION)
    assert sessions.get(KEY) == SESSION
    assert sessions.get(KEY + "1") is None
    sessions.forget(KEY)
    sessions.forget(KEY)
    assert sessions.get(KEY) is None


def test_nobody_else_can_read_what_is_remembered(tmp_path: Path) -> None:
    sessions = file_sessions(tmp_path / "uploads")
    sessions.put(KEY, SESSION)

    [file] = (tmp_path / "uploads").iterdir()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "uploads").stat().st_mode) == 0o700


def test_what_another_process_sends_bytes_in_is_its_own_until_it_ends(tmp_path: Path) -> None:
    """Two mirrors of one file at once wrote the same upload: each spoiled the other's bytes."""
    script = f"""
import sys
from pathlib import Path
from registry.targets.sessions import UploadSession, file_sessions
file_sessions(Path({str(tmp_path)!r})).put({KEY!r}, UploadSession({SESSION.location!r}, 0, 1000.0))
print("put", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == b"put\n"
        while_it_runs = file_sessions(tmp_path).get(KEY)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        once_it_ended = file_sessions(tmp_path).get(KEY)

    assert while_it_runs is None
    assert once_it_ended == SESSION, "nobody has asked yet how it ended"
    assert file_sessions(tmp_path).get(KEY) == SESSION


@pytest.mark.parametrize(
    "text", ["", "no", "[]", "{}", '{"key":"other"}', f'{{"key":"{KEY}","location":7,"least":0,"touched":0}}']
)
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    sessions = file_sessions(tmp_path)
    sessions.put(KEY, SESSION)
    [file] = tmp_path.iterdir()

    file.write_text(text)

    assert sessions.get(KEY) is None


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sessions = file_sessions(tmp_path / "file" / "uploads")

    sessions.put(KEY, SESSION)

    assert sessions.get(KEY) is None


def test_old_memories_are_pruned(tmp_path: Path) -> None:
    sessions = file_sessions(tmp_path)
    sessions.put(KEY, SESSION)
    now = next(tmp_path.iterdir()).stat().st_mtime

    assert sessions.prune(now + AGE - 10, AGE) == 0
    assert sessions.prune(now + AGE + 10, AGE) == 1
    assert sessions.get(KEY) is None


@dataclass
class Uploads:
    """A registry with upload sessions: counts what it is sent."""

    held: dict[str, bytearray] = field(default_factory=dict)
    sent: int = 0
    blobs: int = 0
    breaks_after: int | None = None

    def __call__(self, request: Request) -> Response:
        if request.method == "POST":
            place = f"/v2/acme/tiny/blobs/uploads/{len(self.held) + 1}"
            self.held[place] = bytearray()
            return Response(202, Headers({"Location": place}))
        place = request.path
        if place not in self.held:
            return faults.fault("BLOB_UPLOAD_UNKNOWN", "no such upload")
        if request.method == "PATCH":
            assert not isinstance(request.body, bytes)
            for chunk in request.body:
                if self.breaks_after is not None and len(self.held[place]) >= self.breaks_after:
                    self.breaks_after = None
                    raise KeyboardInterrupt
                self.held[place] += chunk
                self.sent += len(chunk)
        if request.method == "PUT":
            self.blobs += Digest.of(bytes(self.held[place])) == BLOB.digest
            return Response(201)
        last = max(len(self.held[place]) - 1, 0)
        return Response(
            202 if request.method == "PATCH" else 204, Headers({"Location": place, "Range": f"0-{last}"})
        )


def chunks(span: Span) -> list[bytes]:
    return [DATA[at : min(at + 4096, span.end)] for at in range(span.offset, span.end, 4096)]


def push(registry: Uploads, sessions: Sessions, now: float = 1000.0) -> How:
    remote = Remote(Peer(registry, Origin("https", "models.example", 443), lambda: now), sessions)
    intake = remote.receive(NAME, BLOB, None)
    assert isinstance(intake, UploadIntake)
    for gap in intake.received.missing(BLOB.size):
        intake.write(gap, chunks(gap))
    intake.commit()
    return intake.how


def broken_push(registry: Uploads, sessions: Sessions) -> None:
    registry.breaks_after = len(DATA) // 2
    with pytest.raises(KeyboardInterrupt):
        push(registry, sessions)


def test_the_next_run_sends_only_what_the_registry_has_not(tmp_path: Path) -> None:
    registry = Uploads()
    broken_push(registry, file_sessions(tmp_path))

    how = push(registry, file_sessions(tmp_path))

    assert how is How.RESUMED
    assert registry.blobs == 1
    assert registry.sent == len(DATA)
    assert not list(tmp_path.iterdir())


def test_a_session_that_vanished_is_begun_anew(tmp_path: Path) -> None:
    registry = Uploads()
    broken_push(registry, file_sessions(tmp_path))
    registry.held = {"another": bytearray()}

    how = push(registry, file_sessions(tmp_path))

    assert how is How.UPLOADED
    assert registry.blobs == 1


def test_an_old_session_is_not_asked_for(tmp_path: Path) -> None:
    registry = Uploads()
    broken_push(registry, file_sessions(tmp_path))

    how = push(registry, file_sessions(tmp_path), now=1000 + AGE + 1)

    assert how is How.UPLOADED
    assert len(registry.held) == 2
