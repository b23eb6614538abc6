"""What a module may say to people: its strings, without what is only for those who read the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def spoken(path: Path) -> Iterator[str]:
    """The strings of a module that people may read: all but docstrings; of an f-string, its own words."""
    tree = ast.parse(path.read_text())
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield "".join(map(str, parts))
            silent |= {id(part) for part in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value
