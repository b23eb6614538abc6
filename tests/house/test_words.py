"""Plain words (DESIGN, "Words"): no name is one of the old metaphors, and a sentence has a noun.

What a word is here: a part of a name, `moving` in `_MovingBlob` and in `moving_blob`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [path for room in ("registry", "cli") for path in sorted((ROOT / room).rglob("*.py"))]

# Whole names, and words that are in no name at all.
NAMES = frozenset({"Way", "way", "Served", "served", "places", "many", "moving", "ending"})
WORDS = frozenset(
    {"flight", "trip", "appetite", "supply", "portions", "door", "desk"}
    | {"shelf", "handover", "story", "stage", "tally", "elsewhere"}
)
ALLOWED = frozenset({"BusyElsewhere"})  # busy in another process, as DESIGN calls it
NO_NOUN = re.compile(r"\bwho(?:so)?ever\b", re.IGNORECASE)


def names(path: Path) -> Iterator[str]:
    """What a module is called, and every class and function that it defines."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def odd(name: str) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return name not in ALLOWED and (name.strip("_") in NAMES or bool(words & WORDS))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_metaphor_and_every_sentence_has_a_noun(path: Path) -> None:
    assert [name for name in names(path) if odd(name)] == []
    lines = path.read_text().splitlines()
    assert [line.strip() for line in lines if NO_NOUN.search(line)] == []  # "the process that", not "whoever"


def twice(classes: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """The names that more than one class has, and where those are."""
    where: dict[str, list[Path]] = defaultdict(list)
    for name, path in classes:
        where[name].append(path)
    return {name: paths for name, paths in where.items() if len(paths) > 1}


def test_one_name_is_one_thing() -> None:
    trees = ((path, ast.parse(path.read_text())) for path in MODULES)
    classes = [
        (node.name, path) for path, tree in trees for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    assert twice(classes) == {}
    assert list(twice([*classes, classes[0]])) == [classes[0][0]]


def test_what_it_looks_for_is_found() -> None:
    found = ["Flight", "_Door", "BlobTrip", "sign_in_desk", "moving", "_Way", "Elsewhere"]
    assert [name for name in [*found, "Mover", "way_back", "BusyElsewhere", "Stages"] if odd(name)] == found
