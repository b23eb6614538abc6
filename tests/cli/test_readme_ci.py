"""The README's "CI without a secret" works as it stands there: at the server, then in a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House
from identity_provider import JOB, provider
from person import Ferry
from shell import bash, put_ferry
from test_readme import put_sources, recipe

GITHUB = "https://token.actions.githubusercontent.com"


def test_ci_without_a_secret(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home), "PATH": f"{put_ferry(tmp_path / 'bin')}:/usr/bin:/bin"}
    put_sources(home)
    house = House(Ferry(home), data=home / "registry").open()
    try:
        with provider() as ci:
            house("user", "add", "acme").well()
            script = recipe("publisher")
            assert GITHUB in script
            done = bash(f"set -e\n{script.replace(GITHUB, ci.url)}", home, env)
            assert done.returncode == 0, done.stderr
            assert f"repository_owner_id={JOB['repository_owner_id']}" in done.stdout
            job = {**env, **ci.environment, "FERRY_REGISTRY": house.host}
            done = bash(f"set -e\n{recipe('job')}", home, job)
            assert done.returncode == 0, done.stderr
            assert "knows this GitHub Actions job by its own identity" in done.stderr
            assert "with the identity of this CI job" in done.stdout
    finally:
        house.close()


@pytest.mark.parametrize("system", ["GitHub Actions", "GitLab", "Forgejo Actions"])
def test_each_system_has_a_row(system: str) -> None:
    from test_readme import README

    assert f"\n| {system} |" in README
