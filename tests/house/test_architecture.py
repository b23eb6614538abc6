"""Holds `rooms.toml`: who may import whom, what happens in which room, how long a file may be."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text())
ARROWS: dict[str, list[str]] = HOUSE["arrows"]
LIBRARIES = {name: row["rooms"] for row in HOUSE["libraries"] for name in row["names"]}
DEEDS = {name: row["rooms"] for row in HOUSE["deeds"] for name in row["names"]}
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("registry", "cli")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def within(module: str, rooms: Iterable[str]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def imports(tree: ast.AST, modules: Iterable[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            named = [f"{base}.{alias.name}" for alias in node.names]
            yield from [name for name in named if name in modules or name in LIBRARIES] or [base]


def deeds(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "mode")]
            mode = all(isinstance(word, ast.Constant) for word in first)  # a source's open takes a digest
            if mode or node.func.attr != "open":
                yield f".{node.func.attr}"


def complaints(module: str, source: str, modules: Iterable[str] = SOURCES) -> list[str]:
    """Every way in which `source`, as the module of that name, breaks the tables."""
    tree = ast.parse(source)
    room = max((name for name in ARROWS if within(module, [name])), key=len)
    package = ".".join(module.split(".")[: 1 if module.startswith("cli") else 2])
    wrong = []
    for name in imports(tree, modules):
        ours = name.startswith(".") or within(name, ["cli", "registry"])
        rooms = next((LIBRARIES[library] for library in LIBRARIES if within(name, [library])), [module])
        if (ours and not within(name, [package, *ARROWS[room]])) or not within(module, rooms):
            wrong.append(f"{module} imports {name}")
    done = (deed for deed in deeds(tree) if not within(module, DEEDS.get(deed, [module])))
    return wrong + [f"{module} uses {deed}" for deed in done]


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, or nothing."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    try:
        TopologicalSorter(
            {name: set(imports(tree, trees)) - {name} for name, tree in trees.items()}
        ).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_keeps_to_its_room(module: str) -> None:
    assert complaints(module, SOURCES[module].read_text()) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle({name: path.read_text() for name, path in SOURCES.items()}) == []


def test_no_file_is_longer_than_a_person_reads() -> None:
    files = [*SOURCES.values(), *(ROOT / "tests").rglob("*.py"), ROOT / "tests" / "run"]
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > HOUSE["longest_file"]} == {}
