"""What a plain install has works without the [server] extra: as it starts, it imports nothing that serves."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from test_architecture import SOURCES, imports, within

SERVING = (
    "registry.server",
    "registry.gateway",
    "registry.connect_gateway",
    "registry.net.listener",
    "registry.net.upstream",
)
PLAIN = [module for module in SOURCES if not within(module, SERVING)]


def at_start(source: str) -> Iterator[str]:
    """What a module imports as it is imported: not in functions, and not for types only."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(ast.Module([node], []), SOURCES)


@pytest.mark.parametrize("module", PLAIN)
def test_a_plain_install_imports_nothing_of_what_serves(module: str) -> None:
    assert [name for name in at_start(SOURCES[module].read_text()) if within(name, SERVING)] == []


def test_what_it_looks_for_is_found() -> None:
    late = "def f():\n    import registry.server.app\nif TYPE_CHECKING:\n    from registry.server import app"
    assert list(at_start(late)) == []
    found = list(at_start("from registry.net import upstream\nimport registry.net.listener.driver"))
    assert [within(name, SERVING) for name in found] == [True, True]
