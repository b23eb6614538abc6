"""The library gives reasons, the command line gives advice (rule 14)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from spoken import spoken

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = [
    path
    for path in sorted((ROOT / "registry").rglob("*.py"))
    if path.relative_to(ROOT).parts[1] not in ("server", "gateway")  # those speak to strangers too
]
# A command of ours, an option, or a variable of the environment.
OURS = re.compile(r"\bferry [a-z]|(?<![\w-])--[a-z]|\bFERRY_")
OTHERWISE = {
    "ferry proven 1",  # the heading of a file
    "ferry claim 1",
    "is one part of a split model; merge the parts first (llama-gguf-split --merge)",  # another program's
}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_names_no_command_option_or_variable(path: Path) -> None:
    assert [text for text in spoken(path) if OURS.search(text) and text not in OTHERWISE] == []


def test_what_it_looks_for_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""ferry pull."""\nhint = f"say --yes to {hint}"\nother = "ferry pull"\nplain = "a-b"\n'
    )
    assert [text for text in spoken(module) if OURS.search(text)] == ["say --yes to {}", "ferry pull"]
