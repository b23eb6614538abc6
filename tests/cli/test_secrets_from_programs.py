"""Secrets that a program hands over: through a pipe, or as docker's credential helpers do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from person import Ferry
from spy import Seen, Spy, Talk, reply
from waiting import until

from cli import helpers
from registry.auth import api_keys
from registry.errors import InvalidError

API_KEY = api_keys.make(bytes(range(32)))
LOGIN = b64encode(b"me:pw").decode()


def wants(authorization: str, challenge: str) -> Callable[[Talk, Seen], None]:
    """A registry that lets in whoever brings this."""

    def script(talk: Talk, seen: Seen) -> None:
        good = seen.header("Authorization") == authorization
        talk.send(reply(200, b'{"tags":[]}') if good else reply(401, b"who?", WWW_Authenticate=challenge))

    return script


BASIC, BEARER = wants(f"Basic {LOGIN}", 'Basic realm="x"'), wants(f"Bearer {API_KEY}", "Bearer")


@pytest.mark.parametrize("what", ["the logins of Podman", "the configuration of docker", "an API key"])
def test_secrets_come_through_pipes(what: str, ferry: Ferry) -> None:
    """As `<(…)` of a shell makes them; once more where a token is asked for again."""
    with Spy((BEARER if what == "an API key" else BASIC,)) as spy:
        logins = json.dumps({"auths": {spy.netloc: {"auth": LOGIN}}})
        fifo = ferry.home / "config.json"
        os.mkfifo(fifo, 0o600)
        text, environ = {
            "the logins of Podman": (logins, {"REGISTRY_AUTH_FILE": str(fifo)}),
            "the configuration of docker": (logins, {"DOCKER_CONFIG": str(fifo.parent)}),
            "an API key": (API_KEY, {"FERRY_API_KEY_FILE": str(fifo), "FERRY_REGISTRY": spy.netloc}),
        }[what]
        pipe = subprocess.PIPE
        process = ferry.start("tags", f"{spy.netloc}/acme/tiny", stderr=pipe, **environ)
        fifo.write_text(text)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


def put_stubborn(path: Path) -> Path:
    """A helper that starts another program and waits for it; where it says that program's number."""
    told = path.with_name("started")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nsleep 600 &\necho $! >{told}.new; mv {told}.new {told}; wait\n")
    path.chmod(0o755)
    return told


def until_gone(told: Path) -> None:
    """Wait until the program that `told` names has ended, whether anybody has looked or not."""
    status = Path("/proc") / told.read_text().strip() / "stat"
    with suppress(FileNotFoundError, ProcessLookupError):
        until(lambda: status.read_text().rpartition(") ")[2][0] in "ZX")


def test_a_helper_that_does_not_answer_leaves_nothing_running(tmp_path: Path) -> None:
    told = put_stubborn(tmp_path / "docker-credential-x")
    with pytest.raises(InvalidError, match=r"did not answer in 0\.3 s"):
        helpers.run(str(tmp_path / "docker-credential-x"), "get", "a.example", seconds=0.3)
    until_gone(told)


@pytest.mark.parametrize("where", ["", " >&2"])
def test_a_helper_that_prints_without_end_is_ended_at_once(tmp_path: Path, where: str) -> None:
    """Ferry read all of it: 18 GB in half a minute."""
    program, told = tmp_path / "docker-credential-x", tmp_path / "started"
    program.write_text(f"#!/bin/sh\necho $$ >{told}\nexec yes{where}\n")
    program.chmod(0o755)
    with pytest.raises(InvalidError, match="prints more than 65536 bytes"):
        helpers.run(str(program), "get", "a.example")
    until_gone(told)


def test_a_helper_that_reads_nothing_is_heard(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-x"
    program.write_text("#!/bin/sh\nexec <&-\nsleep 0.05\necho '{}'\n")
    program.chmod(0o755)
    assert helpers.run(str(program), "get", "a.example") == "{}\n"


def test_ctrl_c_leaves_no_helper_running(ferry: Ferry) -> None:
    program = ferry.home / "bin" / "docker-credential-mine"
    told = put_stubborn(program)
    (ferry.home / ".docker").mkdir()
    (ferry.home / ".docker" / "config.json").write_text('{"credsStore":"mine"}')
    with Spy((BASIC,)) as spy:
        path = f"{program.parent}:{ferry.env()['PATH']}"
        process = ferry.start("pull", f"{spy.netloc}/acme/tiny", PATH=path)
        until(told.exists)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    until_gone(told)
