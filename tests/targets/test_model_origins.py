"""What is remembered of where a model came from, also by an older Ferry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.model.digests import Digest
from registry.model.names import Name
from registry.targets.origins import ModelOrigin, Origins

NAME, FROM = Name.parse("tiny"), Name.parse("models.example/acme/tiny:1")
PULLED, MINE = Digest.of(b"pulled"), Digest.of(b"mine")


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    return Origins(tmp_path / "origins", tmp_path / "drafts", None)


def test_what_it_was_changed_to_here_is_remembered_beside_what_was_fetched(origins: Origins) -> None:
    origins.put(NAME, ModelOrigin(FROM, PULLED))
    origins.put_made_here(NAME, MINE)

    assert origins.get(NAME) == ModelOrigin(FROM, PULLED, changed=MINE)

    assert origins.put_changed(NAME, PULLED)  # back again
    assert origins.get(NAME) == ModelOrigin(FROM, PULLED)


def test_what_came_from_nowhere_was_not_changed(origins: Origins) -> None:
    assert not origins.put_changed(NAME, MINE)
    assert origins.get(NAME) is None
    origins.put_made_here(NAME, MINE)
    assert not origins.put_changed(NAME, PULLED)
    assert origins.get(NAME) == ModelOrigin(None, MINE)


def test_an_origin_of_an_older_ferry_speaks_of_what_was_fetched(origins: Origins) -> None:
    origins.put(NAME, ModelOrigin(FROM, PULLED))
    (file,) = origins.directory.iterdir()
    older = {"name": "registry.ollama.ai/library/tiny/latest", "origin": FROM.text, "digest": str(PULLED)}
    assert json.loads(file.read_bytes()) == older, "what an older Ferry reads, where nothing was changed"

    known = origins.get(NAME)

    assert known is not None and known.here == PULLED


@pytest.mark.parametrize("changed", ["nonsense", 7, []])
def test_what_cannot_be_understood_is_not_known(origins: Origins, changed: object) -> None:
    origins.put(NAME, ModelOrigin(FROM, PULLED, changed=MINE))
    (file,) = origins.directory.iterdir()
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "changed": changed}))

    assert origins.get(NAME) is None
