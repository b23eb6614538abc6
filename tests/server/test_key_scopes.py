"""What an API key is good for, as it is written."""

from __future__ import annotations

import time

import pytest

from registry.errors import InvalidError
from registry.server.key_scopes import KeyScope, parse_scopes


@pytest.mark.parametrize(
    "scope, said, covers, covers_not",
    [
        ("acme/*:pull", "acme/*:pull", ["acme/a:pull", "ACME/a/b:pull"], ["acme:pull", "acme/a:push"]),
        ("Acme/Tiny:push", "acme/tiny:pull,push", ["acme/tiny:push", "acme/tiny:pull"], ["acme/tiny2:pull"]),
        ("*:delete,pull", "*:pull,delete", ["a:delete", "a/b/c:pull"], ["a:push"]),
        ("a/v*-rc:*", "a/v*-rc:pull,push,delete", ["a/v1-rc:delete"], ["a/v1:pull", "a/v1-rc2:pull"]),
        ("a.b/c:pull", "a.b/c:pull", ["a.b/c:pull"], ["axb/c:pull"]),
    ],
)
def test_a_scope_says_where_and_what(scope: str, said: str, covers: list[str], covers_not: list[str]) -> None:
    parsed = KeyScope.parse(scope)
    assert str(parsed) == said
    assert KeyScope.parse(said) == parsed

    def covered(text: str) -> bool:
        repository, _, action = text.partition(":")
        return parsed.covers(repository, action)

    assert [each for each in covers if not covered(each)] == []
    assert [each for each in covers_not if covered(each)] == []


@pytest.mark.parametrize(
    "scope",
    [
        *("", ":", "acme", "acme/*", "acme/*:", "acme/*:read", "acme/*:pull,", "acme/*:*,pull", ":pull"),
        *("acme//x:pull", "/x:pull", "acme /x:pull", "acme/x :pull", "../x:pull", "é:pull", "*****:pull"),
        "a" * 256 + ":pull",
    ],
)
def test_what_is_no_scope_is_refused(scope: str) -> None:
    with pytest.raises(InvalidError):
        KeyScope.parse(scope)


def test_a_key_has_a_bounded_number_of_scopes() -> None:
    with pytest.raises(InvalidError):
        parse_scopes([])
    with pytest.raises(InvalidError):
        parse_scopes(f"a/{number}:pull" for number in range(17))
    assert len(parse_scopes(["a/b:pull", "A/b:pull"])) == 1


def test_a_name_is_compared_at_once_also_with_the_scopes_that_take_longest() -> None:
    """Each took more than a second, in which nobody else was served."""
    began = time.process_time()
    for text in ("*a*a*a*ab:pull", "*aa*aa*aa*aab:pull", "*a/*a/*a/*b:pull"):
        assert not KeyScope.parse(text).covers("a" * 255, "pull")
    assert time.process_time() - began < 1
