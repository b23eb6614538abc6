"""An administrator lists API keys and ends them, also while the registry is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_directory import prepared, with_api_key
from person import Ferry

from registry.server.registry import Registry


@pytest.fixture
def data(ferry: Ferry) -> Path:
    """A data directory with ada's account."""
    made = prepared(ferry.home / "data")
    ferry("admin", "user", "add", "ada", "--data", made).well()
    return made


def test_keys_are_listed_without_their_secrets_and_revoked(ferry: Ferry, data: Path) -> None:
    secret = with_api_key(data, scope="ada/*:pull,push")
    listed = ferry("admin", "apikey", "list", "--data", data, "--format", "json").well()
    [row] = listed.json
    assert secret not in listed.out
    assert (row["user"], row["note"], row["shown"]) == ("ada", "nightly builds", secret[-4:])
    assert (row["scopes"], row["state"], row["last_used"]) == (["ada/*:pull,push"], "active", None)
    text = ferry("admin", "apikey", "list", "ada", "--data", data).well().out
    assert secret not in text
    assert f"  {secret[-4:]}   never " in text and "may ada/*:pull,push; nightly builds" in text
    assert text.split("\n")[0].split() == [
        "ID",
        "USER",
        "SHOWN",
        "USED",
        "STATE",
    ]  # as in ferry keys list
    assert max(map(len, text.splitlines())) <= 80

    done = ferry("admin", "apikey", "revoke", row["id"], "--data", data).well()

    assert done.out == f"{row['id']} is revoked\n"
    registry = Registry.open(data)
    assert registry.rights.standing_by_secret(secret, "") is None
    registry.close()
    [row] = ferry("admin", "apikey", "list", "--data", data, "--format", "json").well().json
    assert row["state"] == "revoked"
    told = ferry("admin", "audit", "--data", data, "--format", "json").well().json
    assert told[-1]["action"] == "apikey.revoke"
    assert row["id"] in (data / "revocations").read_text()


def test_what_is_not_there_is_said(ferry: Ferry, data: Path) -> None:
    assert ferry("admin", "apikey", "revoke", "none", "--data", data).code == 3
    assert ferry("admin", "apikey", "list", "nobody", "--data", data).code == 3
