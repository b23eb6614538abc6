"""What `ferry admin check` says at its end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cli.commands.upkeep import _summary

PUSH = "the next push of what needs it brings it anew"


@pytest.mark.parametrize(
    ("found", "repair", "told"),
    [
        ((), False, ["every blob is right"]),
        ((), True, ["every blob is right"]),
        ((("missing", False),), False, ["1 blob is not right", f"--repair hides what is wrong, and {PUSH}"]),
        ((("missing", False), ("digest", True)), True, ["2 blobs are not right", PUSH]),
        ((("missing", True), ("digest", True)), False, ["2 blobs are not right", PUSH]),
        ((("right", True),), False, ["1 blob is right again", "--repair shows what is right again"]),
        ((("size", True), ("right", True)), True, ["1 blob is not right, 1 blob is right again", PUSH]),
        (
            (("unreadable", False),),
            True,
            ["1 blob is not right", "look at the disk: what cannot be read is not hidden"],
        ),
    ],
)
def test_a_check_says_what_to_do(found: Sequence[tuple[str, bool]], repair: bool, told: list[str]) -> None:
    assert _summary(found, repair).split("\n  → ") == told
