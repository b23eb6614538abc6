"""`ferry rm` of a pattern: what goes is named, and agreed to."""

from __future__ import annotations

import pytest
from person import Ferry
from stored_models import put_model


@pytest.fixture
def several(ferry: Ferry) -> Ferry:
    for path, weights in (("acme/one/latest", b"1"), ("acme/two/v1", b"22"), ("other/three/latest", b"1")):
        put_model(ferry.models, f"registry.ollama.ai/{path}", b"GGUF" * 2000 + weights)
    put_model(ferry.models, "models.example/acme/four/latest", b"GGUF" * 2000 + b"4")
    return ferry


def left(ferry: Ferry) -> set[str]:
    return {row["name"] for row in ferry("list", "--format", "json").well().json}


def test_a_pattern_names_what_goes_and_wants_a_yes(several: Ferry) -> None:
    refused = several("rm", "acme/*")

    assert refused.code == 2
    assert "  acme/one:latest\n  acme/two:v1\n" in refused.err and "2 models would be removed" in refused.err
    assert len(left(several)) == 4

    done = several("rm", "acme/*", "--yes", "--format", "json").well()

    assert [row["name"] for row in done.json] == ["acme/one:latest", "acme/two:v1"]
    assert left(several) == {"models.example/acme/four:latest", "other/three:latest"}


def test_a_dry_run_says_what_would_be_freed_and_frees_nothing(several: Ferry) -> None:
    """The weights of one are those of three too, so only two's would go."""
    told = several("rm", "acme/*", "--dry-run", "--format", "json").well().json

    assert [row["name"] for row in told["models"]] == ["acme/one:latest", "acme/two:v1"]
    assert len(left(several)) == 4
    freed = several("rm", "acme/*", "--yes", "--format", "json").well().json
    assert told["would_free"] == sum(row["freed"] for row in freed)


def test_patterns_are_the_words_a_person_would_write(several: Ferry) -> None:
    for pattern, count in (
        ("*", 4),
        ("models.example/*", 1),
        ("acme/two:v?", 1),
        ("ACME/*", 2),
        ("*/three", 1),
    ):
        told = several("rm", pattern, "--dry-run", "--format", "json").well().json
        assert len(told["models"]) == count, pattern
    assert several("rm", "nothing/*", "--yes").code == 3
    assert several("rm", "--remote", "acme/*", "--yes").code == 2
