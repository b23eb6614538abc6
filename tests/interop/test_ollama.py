"""The stock ollama client, unchanged, with Ferry's private registry and beside Ferry in one store."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import models
import pytest
from data_directory import prepared
from handmade import Model, fetch, make_model, models_of, shelve, unshelve
from invariants import check_store
from peers import Registry, Tool, ferry_server, ferry_tool, http_call
from stock import Machine, machine

BIG = 230_000_000  # three parts of stock's: 100 MB, 100 MB, 30 MB


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("alice") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("stranger") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def private(alice: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A private registry that knows the key of alice's ollama."""
    place = tmp_path_factory.mktemp("private")
    admin = ferry_tool(place / "admin")
    admin("admin", "user", "add", "alice", "--key", alice.public_key, "--data", prepared(place / "data"))
    with ferry_server(place, "--anonymous", "none") as registry:
        yield registry


def same(one: Model, other: Model) -> bool:
    """Stock writes manifests in its own hand: the same content, perhaps not the same bytes."""
    return json.loads(one.manifest) == json.loads(other.manifest) and one.blobs == other.blobs


def fingerprint(public_key: str) -> str:
    """As OpenSSH writes it: SHA256 of the decoded key, base64 without padding."""
    seen = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(seen).decode().rstrip("=")


def test_ferry_pulls_what_stock_pushed_with_the_machines_own_key(
    alice: Machine, private: Registry, tmp_path: Path
) -> None:
    model = make_model(41)
    shelve(alice.home, model, "alice/pushed/v1", host=private.host)
    other = ferry_tool(tmp_path / "home")

    alice.ollama("push", "--insecure", f"{private.host}/alice/pushed:v1")
    other("pull", f"{private.host}/alice/pushed:v1", "--key", alice.public_key.with_suffix(""))

    assert same(unshelve(tmp_path / "home", private.host, "alice/pushed/v1"), model)


def test_stock_pulls_what_ferry_pushed_and_knows_it(alice: Machine, private: Registry) -> None:
    model = make_model(42)
    name = f"{private.host}/alice/pulled:v1"
    shelve(alice.home, model, "library/local/latest")
    alice.ferry("push", "local", name, "--annotation", "org.opencontainers.image.version=1.0")
    published = alice.ferry("show", name, "--remote", "--manifest").text
    assert json.loads(published)["annotations"] == {"org.opencontainers.image.version": "1.0"}

    alice.ollama("pull", "--insecure", name)

    assert same(unshelve(alice.home, private.host, "alice/pulled/v1"), model)
    assert name in alice.ollama("list").text


@pytest.mark.patience(600)
def test_stock_moves_a_model_of_several_parts_both_ways(
    alice: Machine, private: Registry, tmp_path: Path
) -> None:
    model = make_model(43, weights=BIG)
    name = f"{private.host}/alice/parts:v1"
    shelve(alice.home, model, "alice/parts/v1", host=private.host)

    alice.ollama("push", "--insecure", name)
    alice.ollama("rm", name)
    alice.ollama("pull", "--insecure", name)

    assert same(unshelve(alice.home, private.host, "alice/parts/v1"), model)
    ferry_home = tmp_path / "home"
    ferry_tool(ferry_home)("pull", name, "--key", alice.public_key.with_suffix(""))
    assert same(unshelve(ferry_home, private.host, "alice/parts/v1"), model)


def test_a_strangers_stock_client_gets_nothing(alice: Machine, stranger: Machine, private: Registry) -> None:
    name = f"{private.host}/alice/secret:v1"
    shelve(alice.home, make_model(44), "library/local/latest")
    alice.ferry("push", "local", name)

    pull = stranger.ollama.run("pull", "--insecure", name)
    taken = [path for path in models_of(stranger.home).rglob("*") if path.is_file()]
    shelve(stranger.home, make_model(45), "alice/secret/v1", host=private.host)
    push = stranger.ollama.run("push", "--insecure", name)
    missing = stranger.ferry.run("pull", f"{private.host}/alice/never:v1")
    refused = stranger.ferry.run("pull", name)

    assert (pull.code, taken) == (1, [])
    assert push.code == 1
    assert refused.code == missing.code
    assert refused.err.replace("secret", "never") == missing.err


def test_stock_is_refused_from_the_very_next_request_when_its_key_is_revoked(
    private: Registry, tmp_path: Path
) -> None:
    with machine(tmp_path / "bob") as bob:
        data = private.data
        admin = ferry_tool(tmp_path / "admin")
        admin("admin", "user", "add", "bob", "--key", bob.public_key, "--data", data)
        model, name = make_model(46), f"{private.host}/bob/mine:v1"
        shelve(bob.home, model, "bob/mine/v1", host=private.host)
        bob.ollama("push", "--insecure", name)
        bob.ollama("rm", name)

        key = " ".join(bob.public_key.read_text().split()[:2])
        admin("admin", "key", "revoke", fingerprint(key), "--data", data)

        assert bob.ollama.run("pull", "--insecure", name).code != 0
        assert not (models_of(bob.home) / "manifests" / private.host / "bob" / "mine" / "v1").exists()


def test_stocks_own_signin_is_told_who_it_is_or_where_to_connect(
    alice: Machine, stranger: Machine, private: Registry
) -> None:
    at = {"OLLAMA_AUTH": "1", "OLLAMA_HOST": f"http://{private.host}"}
    known = Tool(alice.ollama.command, {**alice.ollama.env, **at}).run("signin")
    unknown = Tool(stranger.ollama.command, {**stranger.ollama.env, **at}).run("signin")

    assert "alice" in known.text + known.err
    assert "/connect?" in unknown.text + unknown.err


def test_what_ferry_pulls_into_stocks_store_stock_lists_shows_and_removes(
    alice: Machine, lab_registry: Registry, tmp_path: Path
) -> None:
    maker = ferry_tool(tmp_path / "home")
    shelve(tmp_path / "home", make_model(47), "library/tiny/latest")
    name = f"{lab_registry.host}/beside/tiny:v1"
    maker("push", "tiny", name)

    alice.ferry("pull", name)

    assert name in alice.ollama("list").text
    alice.ollama("rm", name)
    assert alice.ferry.run("show", name).code == 3


@pytest.mark.patience(600)
def test_stock_and_ferry_pull_the_same_model_into_one_store_at_once(
    alice: Machine, private: Registry, tmp_path: Path
) -> None:
    model = make_model(48, weights=BIG)
    name = f"{private.host}/alice/together:v1"
    with contextlib.ExitStack() as stack:
        maker = tmp_path / "home"
        shelve(maker, model, "library/big/latest")
        key = alice.public_key.with_suffix("")
        ferry_tool(maker)("push", "big", name, "--key", key)
        pool = stack.enter_context(ThreadPoolExecutor(2))

        stock = pool.submit(alice.ollama.run, "pull", "--insecure", name)
        ours = pool.submit(alice.ferry.run, "pull", name)

    assert (stock.result().code, stock.result().err[-500:] if stock.result().code else "") == (0, "")
    assert (ours.result().code, ours.result().err[-500:] if ours.result().code else "") == (0, "")
    assert same(unshelve(alice.home, private.host, "alice/together/v1"), model)


def created(at: Machine, name: str, place: Path, seed: int) -> Model:
    """A model that ollama made of genuine weights, which it can run."""
    place.mkdir(exist_ok=True)
    models.write(place / "weights.gguf", 300_000, seed=seed)
    text = "FROM ./weights.gguf\nTEMPLATE {{ .Prompt }}\nPARAMETER seed 1\nLICENSE Do as you like.\n"
    (place / "Modelfile").write_text(text)
    at.ollama("create", name, "-f", place / "Modelfile")
    host, _, path = name.partition("/")
    return unshelve(at.home, host, path.replace(":", "/"))


def answer(at: Machine, name: str) -> object:
    """What the model makes of a few words: each number of it depends on all its weights."""
    body = {"model": name, "input": "ferry carries every byte", "keep_alive": 0}
    said = http_call("POST", f"http://{at.ollama.env['OLLAMA_HOST']}/api/embed", json.dumps(body).encode())
    assert said.status == 200, said.body
    return json.loads(said.body)["embeddings"]


def test_ollama_runs_moves_and_shows_what_was_repaired_and_updated(
    alice: Machine, lab_registry: Registry, tmp_path: Path
) -> None:
    name = f"{lab_registry.host}/mended/tiny:v1"
    manifest = models_of(alice.home) / "manifests" / lab_registry.host / "mended" / "tiny" / "v1"
    old = created(alice, name, tmp_path / "old", seed=61)
    alice.ollama("push", "--insecure", name)
    right, shown = answer(alice, name), alice.ollama("show", name).text

    by_size = sorted(old.blobs, key=lambda digest: len(old.blobs[digest]))
    blobs = [models_of(alice.home) / "blobs" / digest.replace(":", "-") for digest in by_size]
    template, licence, *_, weights = blobs
    data = bytearray(weights.read_bytes())
    data[150_000] ^= 1
    weights.write_bytes(data)
    os.truncate(template, 3)
    licence.unlink()
    assert alice.ferry.run("verify", name).code == 5
    alice.ferry("verify", "--repair", name)
    manifest.write_bytes(manifest.read_bytes()[:50])
    alice.ferry("verify", "--repair", name)

    assert alice.ollama("show", name).text == shown
    assert answer(alice, name) == right
    assert name in alice.ollama("list").text
    alice.ollama("cp", name, f"{name}-copied")
    alice.ollama("push", "--insecure", f"{name}-copied")
    assert fetch(lab_registry, "mended/tiny", "v1-copied").blobs == old.blobs

    new = created(alice, f"{name}-made", tmp_path / "new", seed=62)
    alice.ferry("push", f"{name}-made", name)
    alice.ollama("rm", f"{name}-made")
    rows = json.loads(alice.ferry("outdated", name, "--format", "json").text)
    assert [row["state"] for row in rows] == ["outdated"], "the registry knows what ollama pushed"
    alice.ferry("update", name)
    alice.ollama("rm", f"{name}-copied")
    alice.ferry("prune", "--now")

    assert unshelve(alice.home, lab_registry.host, "mended/tiny/v1").blobs == new.blobs
    assert answer(alice, name) != right
    alice.ollama("cp", name, f"{name}-newer")
    alice.ollama("push", "--insecure", f"{name}-newer")
    assert fetch(lab_registry, "mended/tiny", "v1-newer").blobs == new.blobs
    alice.ollama("pull", "--insecure", name)
    check_store(models_of(alice.home))
