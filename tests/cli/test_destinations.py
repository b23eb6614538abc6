"""Nothing goes to a place that nobody meant: a host is no model's name, and no host is not the public one."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from person import FERRY, Done, Ferry
from spy import Spy, reply
from stored_models import put_model


@pytest.fixture
def mine(ferry: Ferry) -> Ferry:
    """Somebody with the model `mine` in the store."""
    put_model(ferry.models, "registry.ollama.ai/library/mine/latest")
    return ferry


def refused(done: Done, *words: str) -> None:
    assert done.code == 2, done.out + done.err
    assert all(word in done.err for word in words), done.err
    assert done.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("push", "mine", "127.0.0.1:5080"),
        ("push", "mine", "acme.example"),
        ("mirror", "127.0.0.1:1/a/m:1", "OTHERHOST.example"),
        ("pull", "models.acme.example"),
        ("pull", "127.0.0.1:1/a/m", "--as", "localhost"),
        ("tags", "http://models"),
        ("show", "models.acme.example:5050"),
        ("cp", "mine", "[::1]:5050"),
        ("cp", "--remote", "127.0.0.1:1/a/m", "acme.example"),
        ("rm", "localhost:5000"),
        ("create", "127.0.0.1"),
    ],
)
def test_a_host_is_not_a_models_name(words: tuple[str, ...], mine: Ferry) -> None:
    refused(mine(*words), "is a host; add NAMESPACE/MODEL", "/acme/tiny")


def test_a_host_is_no_source_of_a_mirror(mine: Ferry) -> None:
    refused(
        mine("mirror", "localhost:5000", "localhost:5001/a/m"), "is a host; add NAMESPACE or NAMESPACE/MODEL"
    )


def test_a_name_with_a_dot_is_a_model_where_it_is_no_destination(mine: Ferry) -> None:
    for name in ("qwen2.5", "llama3.2:3b", "tiny:5080"):
        mine("cp", "mine", name).well()
        mine("show", name).well()
    refused(mine("push", "mine", "acme2.5"), "is a host", "library/acme2.5")


def test_a_model_in_the_store_is_no_host(mine: Ferry) -> None:
    put_model(mine.models, "registry.ollama.ai/library/models.acme.example/latest")
    mine("show", "models.acme.example").well()
    mine("rm", "models.acme.example").well()
    assert mine("show", "models.acme.example").code == 2


# --- no host is not the public one -------------------------------------------------------------------------


@pytest.fixture
def alone(mine: Ferry) -> Ferry:
    """Somebody with the model `mine` whom no other machine answers."""
    return Ferry(mine.home, {"HTTPS_PROXY": "http://127.0.0.1:1", "FERRY_FIRST_PAUSE": "0.01"})


@pytest.mark.parametrize(
    "words", [("push", "mine"), ("push", "mine", "acme/other"), ("mirror", "127.0.0.1:1/a/m:1", "b/m")]
)
def test_a_destination_without_a_host_needs_one_or_a_yes(words: tuple[str, ...], mine: Ferry) -> None:
    refused(mine(*words), "names no host", "registry.ollama.ai", "nothing was published", "--yes")


def test_a_dry_run_says_where_and_asks_nothing(alone: Ferry) -> None:
    done = alone("push", "mine", "--dry-run", "--give-up-after", "1s")
    assert "names no host" not in done.err


def test_a_yes_or_a_registry_of_ones_own_is_enough(mine: Ferry, alone: Ferry) -> None:
    done = alone("push", "mine", "--yes", "--give-up-after", "1s")
    assert "registry.ollama.ai" in done.err and done.code in (4, 6), done.err
    with Spy((reply(404),)) as spy:
        done = mine("push", "registry.ollama.ai/library/mine", "a/mine", FERRY_REGISTRY=spy.netloc)
        assert "names no host" not in done.err
        assert spy.seen


def answered(ferry: Ferry, answer: bytes, *words: str) -> tuple[int, str]:
    """What a terminal shows of a run whose questions are all answered so."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [*FERRY, *words],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=ferry.env(),
            cwd=ferry.home,
        )
        os.close(follower)
        os.write(leader, answer)
        shown = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        return process.wait(30), shown.decode()
    finally:
        os.close(leader)


def test_in_a_terminal_it_is_asked(mine: Ferry) -> None:
    code, shown = answered(mine, b"n\n", "push", "mine")
    assert code == 2
    assert "at registry.ollama.ai as library/mine:latest. Publish it there? [y/N]" in " ".join(shown.split())
    assert "nothing was published" in shown
