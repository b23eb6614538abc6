"""`WWW-Authenticate`, read as it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.errors import InvalidError
from registry.wire.challenges import parse_challenges


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            ['Bearer realm="r",service="s",scope="a b"'],
            [("bearer", {"realm": "r", "service": "s", "scope": "a b"})],
        ),
        (["bearer REALM=r"], [("bearer", {"realm": "r"})]),
        (['Basic realm="a, b=\\"c\\""'], [("basic", {"realm": 'a, b="c"'})]),
        (["Negotiate", "Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (["Negotiate YWJj==, Bearer realm=x"], [("negotiate", {}), ("bearer", {"realm": "x"})]),
        (
            ['Bearer realm="x" , error = "invalid_token"'],
            [("bearer", {"realm": "x", "error": "invalid_token"})],
        ),
        (["Bearer realm=x, Basic realm=y"], [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})]),
        ([""], []),
        ([" , ,"], []),
        ([], []),
    ],
)
def test_challenges_are_read_as_written(
    fields: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(fields)] == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: ['Bearer realm="unclosed'],
        lambda: ['realm="x"'],
        lambda: ["Bearer realm=a, realm=b"],
        lambda: ["Bearer =x"],
        lambda: ["Bearer (x)"],
        lambda: ["Bearer realm=x" * 2000],
        lambda: ["Basic"] * 9,
        lambda: ["Bearer " + ",".join(f"p{number}=x" for number in range(17))],
        lambda: ['Bearer a="' + "\\" * 8000],
    ],
)
def test_a_challenge_that_cannot_be_read_is_refused(make: Callable[[], list[str]]) -> None:
    with pytest.raises(InvalidError):
        parse_challenges(make())
