"""Runs docker's credential helpers, and leaves nothing of them running: what they start holds secrets."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from typing import TYPE_CHECKING

from registry.errors import InvalidError

if TYPE_CHECKING:
    import subprocess

_SECONDS = 30.0
_ANSWER_BYTES = 64 * 1024
_SHOWN = 200
# What helpers say of a host they do not know (docker-credential-helpers, `errCredentialsNotFound`).
_UNKNOWN = "credentials not found"

_running: set[subprocess.Popen[bytes]] = set()


def run(program: str, verb: str, text: str, seconds: float = _SECONDS) -> str | None:
    """What `docker-credential-… get` and the like print for `text`, or None if it knows nothing.

    InvalidError if it cannot be run, does not end within `seconds`, prints without end, or fails.
    """
    import subprocess  # here, as most people have no helper

    pipe = subprocess.PIPE
    try:
        helper = subprocess.Popen(
            [program, verb], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise InvalidError(f"{program} cannot be run: {error.strerror}") from None
    _running.add(helper)
    with helper:
        try:
            out, err = _said(helper, text, seconds)
        except subprocess.TimeoutExpired:
            raise InvalidError(f"{program} did not answer in {seconds:g} s") from None
        except OverflowError:
            raise InvalidError(f"{program} prints more than {_ANSWER_BYTES} bytes") from None
        finally:
            _running.discard(helper)
            _end(helper)
    said = out.decode("utf-8", "replace")
    if helper.returncode == 0:
        return said
    why = (said + err.decode("utf-8", "replace")).strip()
    if _UNKNOWN in why.lower():
        return None
    raise InvalidError(f"{program} failed: {why.splitlines()[0][:_SHOWN] if why else helper.returncode}")


def _said(helper: subprocess.Popen[bytes], text: str, seconds: float) -> list[bytearray]:
    """What it prints on standard output and error for `text`, and then ends.

    TimeoutExpired where that takes longer; OverflowError beyond _ANSWER_BYTES of either: `communicate` would
    fill this machine's memory.
    """
    from subprocess import TimeoutExpired

    until = time.monotonic() + seconds
    assert helper.stdin is not None
    with contextlib.suppress(BrokenPipeError), helper.stdin as asking:
        asking.write(text.encode())
    said = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as open_pipes:
        for stream, kept in zip((helper.stdout, helper.stderr), said, strict=True):
            assert stream is not None
            open_pipes.register(stream, selectors.EVENT_READ, kept)
        while open_pipes.get_map():
            ready = open_pipes.select(until - time.monotonic())
            if time.monotonic() >= until:
                raise TimeoutExpired(helper.args, seconds)
            for pipe, _ in ready:
                piece = os.read(pipe.fd, _ANSWER_BYTES)
                if not piece:
                    open_pipes.unregister(pipe.fileobj)
                pipe.data.extend(piece)
                if len(pipe.data) > _ANSWER_BYTES:
                    raise OverflowError
    helper.wait(max(until - time.monotonic(), 0))
    return said


def end_all() -> None:
    """End those that run, when this process is about to."""
    for helper in tuple(_running):
        _end(helper)


def _end(helper: subprocess.Popen[bytes]) -> None:
    """End a helper that has not ended, with everything that it started."""
    if helper.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(helper.pid, signal.SIGKILL)
