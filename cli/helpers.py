"""Runs docker's credential helpers, and leaves nothing of them running: what they start holds secrets."""

from __future__ import annotations

import contextlib
import os
import signal
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

    InvalidError if it cannot be run, does not end within `seconds`, or fails.
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
            out, err = helper.communicate(text.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise InvalidError(f"{program} did not answer in {seconds:g} s") from None
        finally:
            _running.discard(helper)
            _end(helper)
    said = out[:_ANSWER_BYTES].decode("utf-8", "replace")
    if helper.returncode == 0:
        return said
    why = (said + err[:_ANSWER_BYTES].decode("utf-8", "replace")).strip()
    if _UNKNOWN in why.lower():
        return None
    raise InvalidError(f"{program} failed: {why.splitlines()[0][:_SHOWN] if why else helper.returncode}")


def end_all() -> None:
    """End those that run, when this process is about to."""
    for helper in tuple(_running):
        _end(helper)


def _end(helper: subprocess.Popen[bytes]) -> None:
    """End a helper that has not ended, with everything that it started."""
    if helper.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(helper.pid, signal.SIGKILL)
