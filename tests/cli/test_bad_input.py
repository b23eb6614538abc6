"""Bad input gets one clear sentence, one next step and the documented exit code, and loses nothing."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from data_directory import prepared
from house import House
from invariants import snapshot
from peers import tls_front
from person import ROOT, Done, Ferry
from stored_models import put_model

LATE = """\
import runpy, sys, time
real = time.time
time.time = lambda: real() - 3600
sys.argv = ["ferry", *sys.argv[1:]]
runpy.run_module("cli", run_name="__main__")
"""


@pytest.fixture
def store(ferry: Ferry) -> Iterator[Path]:
    """A store with a model in it, which is as it was in the end."""
    put_model(ferry.models)
    ferry("list").well()
    before = snapshot(ferry.models / "blobs", ferry.models / "manifests")
    yield ferry.models
    assert snapshot(ferry.models / "blobs", ferry.models / "manifests") == before


def one_sentence(done: Done, code: int, *words: str) -> None:
    """It ended so, said these words and a next step, and nothing that only its authors understand."""
    lines = [line for line in done.err.splitlines() if "trying again in" not in line]
    assert done.code == code, done.err
    assert len(lines) == 2, done.err
    assert lines[0].startswith("ferry: ") and lines[1].startswith("  → ")
    assert all(word in done.err for word in words), done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("Über/tiny", 2, ("is not a model name", "for example")),
        ("models.example/acme/tiny:", 2, ("no tag behind the colon",)),
        ("../../etc/passwd", 2, ("is not a model name", "'..'")),
        ("nowhere.invalid/acme/tiny", 6, ("nowhere.invalid", "does not resolve", "spelling")),
        ("127.0.0.1:1/acme/tiny", 6, ("127.0.0.1:1", "refused the connection", "that it is running")),
    ],
)
def test_a_wrong_name_or_host(
    name: str, code: int, words: tuple[str, ...], ferry: Ferry, store: Path
) -> None:
    one_sentence(ferry("pull", name, "--models", store), code, *words)


def test_a_certificate_that_nobody_vouches_for(
    ferry: Ferry, store: Path, house: House, tmp_path: Path
) -> None:
    with tls_front(tmp_path / "front", house.host) as front:
        done = ferry("pull", f"https://{front.host}/acme/tiny", "--models", store)
        one_sentence(done, 4, "is not to be trusted", "--tls-ca")


@pytest.mark.parametrize("words", [("push",), ("push", "--dry-run"), ("pull",)])
def test_plain_http_to_a_host_that_speaks_https_is_called_that(
    words: tuple[str, ...], ferry: Ferry, house: House, tmp_path: Path
) -> None:
    """Also where it is asked by HEAD first, whose answers have no words (nginx: 400)."""
    with tls_front(tmp_path / "front", house.host) as front:
        put_model(ferry.models, f"{front.host}/acme/tiny/latest")
        done = ferry(words[0], f"{front.host}/acme/tiny", *words[1:])
        one_sentence(done, 7, "speaks HTTPS, and was asked in plain HTTP", "https://")


@pytest.mark.parametrize("words", [("--tls-ca", "{ca}"), ("--insecure-tls",)])
def test_what_is_said_of_a_certificate_means_https_also_on_this_machine(
    words: tuple[str, ...], ferry: Ferry, house: House, tmp_path: Path
) -> None:
    with tls_front(tmp_path / "front", house.host) as front:
        host = front.host.replace("127.0.0.1", "localhost")
        said = [word.format(ca=front.ca) for word in words]
        done = ferry("tags", f"{host}/acme/tiny", *said)
        assert f"{host} answered" in done.err or f"{host} does not accept" in done.err, done.err
        plain = ferry("tags", f"{host}/acme/tiny", "--plain-http", *said)
        assert "speaks HTTPS, and was asked in plain HTTP" in plain.err


def test_tls_where_none_is_spoken(ferry: Ferry, store: Path, house: House) -> None:
    done = ferry("pull", f"https://{house.host}/acme/tiny", "--models", store)
    one_sentence(done, 7, "does not speak HTTPS", "--plain-http")


def test_a_key_nobody_knows(ferry: Ferry, store: Path, house: House) -> None:
    push = ("push", "tiny", f"{house.host}/ada/tiny", "--models", store)
    one_sentence(ferry(*push), 4, "no key or login for it", f"ferry signin {house.host}")
    ferry("signin", house.host, "--give-up-after", "0")
    one_sentence(ferry(*push), 4, "does not accept the key SHA256:")


def test_a_clock_that_is_off_by_an_hour(store: Path, people: Callable[[str], Ferry], tmp_path: Path) -> None:
    host = Ferry(tmp_path / "host")
    host.home.mkdir()
    ada = people("ada")
    ada("signin", "127.0.0.1:1")  # makes her key
    public = ada.home / ".ollama" / "id_ed25519.pub"
    host("admin", "user", "add", "ada", "--key", public, "--data", prepared(host.home / "data")).well()
    words = ["serve", "--data", str(host.home / "data"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-c", LATE, *words],
        env=host.env(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        there = process.stdout.readline().split("//")[1].split()[0]
        done = ada("push", "tiny", f"{there}/ada/tiny", "--models", store)
        process.terminate()
    one_sentence(done, 4, "clock", "3600 s")


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk is made with mount")
def test_a_disk_that_is_too_small(house: House, people: Callable[[str], Ferry], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("a small disk needs the right to mount")
    try:
        ada = people("ada")
        put_model(ada.models, f"{house.host}/ada/wide/1", b"GGUF" + bytes(5_000_000))
        ada("push", f"{house.host}/ada/wide:1").well()
        done = ada("pull", f"{house.host}/ada/wide:1", "--models", disk / "models")
        one_sentence(done, 8, "not enough room", "5.0 MB needed", "--models DIR")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("words", [("list",), ("pull", "127.0.0.1:1/acme/tiny"), ("prune",)])
def test_a_store_that_is_none(words: tuple[str, ...], ferry: Ferry) -> None:
    (ferry.home / "models").write_text("not a directory")
    done = ferry(*words, "--models", ferry.home / "models")
    one_sentence(done, 8, "is not a directory", "--models")
    assert (ferry.home / "models").read_text() == "not a directory"


def test_a_store_that_cannot_be_looked_at(ferry: Ferry) -> None:
    done = ferry("list", "--models", ferry.home / ("x" * 300))
    assert done.code == 8, done.err
    assert "Traceback" not in done.err and "name too long" in done.err


def test_a_database_that_is_broken(ferry: Ferry) -> None:
    data = prepared(ferry.home / "data")
    ferry("admin", "user", "add", "ada", "--data", data).well()
    (database,) = data.glob("*.db")
    for beside in data.glob("*.db-*"):
        beside.unlink()
    database.write_bytes(b"this is no database" * 1000)
    for words in (("serve", "--listen", "127.0.0.1:0"), ("admin", "user", "list")):
        one_sentence(ferry(*words, "--data", data), 8, "database")
    assert database.read_bytes() == b"this is no database" * 1000


def test_a_port_that_is_taken(ferry: Ferry) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = ferry("serve", "--data", ferry.home / "data", "--listen", f"127.0.0.1:{port}")
    one_sentence(done, 2, f"127.0.0.1:{port}")


def test_a_choice_that_is_missing_is_told_with_those_there_are(ferry: Ferry) -> None:
    one_sentence(ferry("completion"), 2, "Choose from: bash, zsh, fish\n")
