"""A real ollama over a store that Ferry repaired and updated: it lists, copies and pushes what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import fetch, make_model, models_of, shelve, unshelve
from invariants import check_blobs
from peers import Registry, ferry_tool
from stock import Machine, machine


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("alice") / "home") as made:
        yield made


def test_ollama_goes_on_with_a_store_that_was_repaired_and_updated(
    alice: Machine, lab_registry: Registry, tmp_path: Path
) -> None:
    name = f"{lab_registry.host}/mended/tiny"
    old, new = make_model(61, weights=3_000_000), make_model(62, weights=3_000_000)
    maker = ferry_tool(tmp_path / "maker")
    shelve(tmp_path / "maker", old, "library/tiny/latest")
    maker("push", "tiny", f"{name}:v1")
    alice.ollama("pull", "--insecure", f"{name}:v1")

    _config, weights, _template, _params, licence = old.blobs
    path = models_of(alice.home) / "blobs" / weights.replace(":", "-")
    data = bytearray(path.read_bytes())
    data[1_500_000] ^= 1
    path.write_bytes(data)
    (path.parent / licence.replace(":", "-")).unlink()
    assert alice.ferry.run("verify").code == 5
    alice.ferry("verify", "--repair")

    held = unshelve(alice.home, lab_registry.host, "mended/tiny/v1")
    assert held.blobs == old.blobs
    assert f"{name}:v1" in alice.ollama("list").text
    alice.ollama("cp", f"{name}:v1", f"{name}:copied")
    alice.ollama("push", "--insecure", f"{name}:copied")
    assert fetch(lab_registry, "mended/tiny", "copied").blobs == old.blobs

    shelve(tmp_path / "maker", new, "library/tiny/latest")
    maker("push", "tiny", f"{name}:v1")
    rows = json.loads(alice.ferry("outdated", f"{name}:v1", "--format", "json").text)
    assert [row["state"] for row in rows] == ["outdated"], "the registry knows what ollama pulled"
    alice.ferry("update", f"{name}:v1")

    assert unshelve(alice.home, lab_registry.host, "mended/tiny/v1").blobs == new.blobs
    alice.ollama("cp", f"{name}:v1", f"{name}:newer")
    alice.ollama("push", "--insecure", f"{name}:newer")
    assert fetch(lab_registry, "mended/tiny", "newer").blobs == new.blobs
    check_blobs(models_of(alice.home) / "blobs")
