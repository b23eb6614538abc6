"""What a push did, or would do, as a Markdown document that CI jobs show."""

from __future__ import annotations

from collections.abc import Sequence

from cli.render import Document, markdown_cell, size
from registry.errors import RegistryError


def markdown(done: Sequence[Document], failed: Sequence[tuple[str, RegistryError]], line: str) -> str:
    """One row a tag, and one for each model that failed; `line` is the whole run in one line."""
    rows = [row for told in done for row in _rows(told)]
    rows += [(name, "failed", "", "", error.message) for name, error in failed]
    lines = ["### ferry push", "", line, ""]
    lines += ["| model | tag | bytes | digest | |", "| --- | --- | --: | --- | --- |"]
    lines += [f"| {' | '.join(map(markdown_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _rows(told: Document) -> list[tuple[str, str, str, str, str]]:
    dry_run = "would_transfer" in told
    moved = size(int(str(told["would_transfer" if dry_run else "transferred"])))
    also = told.get("also")
    others = [(each, "") for each in also] if isinstance(also, list) else []
    return [
        (str(each["name"]), _word(each, dry_run), bytes_, str(told["digest"]), _before(each))
        for each, bytes_ in ((told, moved), *others)
    ]


def _word(of: Document, dry_run: bool) -> str:
    word = str(of["tag"] or "by digest")
    return {"created": "would be created", "moved": "would move"}.get(word, word) if dry_run else word


def _before(of: Document) -> str:
    return f"from {of['was']}" if of["tag"] == "moved" else ""
