"""Which tags are meant: by pattern, and the newest of them."""

from __future__ import annotations

import pytest

from registry.model.selection import Selection, version_key


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0-rc1", "1.0"),
        ("1.0", "1.0.1"),
        ("v1.9", "v1.10"),
        ("v9", "v10"),
        ("latest", "v1"),
        ("1.0-rc9", "1.0-rc10"),
        ("1.0", "1.1-rc1"),
        ("2024-01-02", "2024-02-01"),
        ("1.0-alpha", "1.0-beta"),
    ],
)
def test_versions_are_ordered_as_people_do(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_the_newest_are_those_published_last_where_that_is_known_and_the_highest_versions_else() -> None:
    versions = {"v1.9": None, "v1.10": None, "v1.2": None, "latest": None}
    assert Selection(newest=2).chosen(versions) == ["v1.9", "v1.10"]
    moments = {"v1.9": 30.0, "v1.10": 10.0, "v1.2": 20.0}
    assert Selection(newest=2).chosen(moments) == ["v1.9", "v1.2"]


def test_patterns_choose_and_exclude_and_what_is_attached_is_no_version() -> None:
    tags = dict.fromkeys(("v1", "v2-rc1", "latest", "nightly", f"sha256-{'a' * 64}.sig"))

    assert Selection(("v*", "latest"), ("*-rc*",)).chosen(tags) == ["v1", "latest"]
    assert Selection().chosen(tags) == ["v1", "v2-rc1", "latest", "nightly"]
