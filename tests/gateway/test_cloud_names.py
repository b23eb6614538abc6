"""What cloud models are called here and there."""

from __future__ import annotations

import pytest

from registry.gateway import names


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("gpt-oss:120b-cloud", "gpt-oss:120b"),
        ("kimi-k2:cloud", "kimi-k2"),
        ("ada/tiny:1b-cloud", "ada/tiny:1b"),
    ],
)
def test_a_cloud_model_has_two_names(here: str, there: str) -> None:
    assert (names.base(here), names.listed(there)) == (there, here)


@pytest.mark.parametrize(
    "name", ["llama3.2", "llama3.2:3b", "x-cloud", "x-cloud:8b", ":cloud", "", "x:-cloud", "host:5000/x"]
)
def test_other_names_are_no_cloud_models(name: str) -> None:
    assert names.base(name) is None


def test_latest_goes_without_saying() -> None:
    assert names.same("Kimi-k2", "kimi-k2:latest")
    assert not names.same("kimi-k2", "kimi-k2:8b")
