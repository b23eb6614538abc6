"""ferry in a CI job: a real registry, a real CI system, and the variables that a runner sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import House
from identity_provider import JOB, Provider, provider
from person import Ferry
from stored_models import put_model

CLAIM = f"repository_owner_id={JOB['repository_owner_id']}"


@dataclass
class Ci:
    """A registry whose acme/tiny and acme/other are published by jobs of `provider`."""

    house: House
    provider: Provider
    tiny: str = ""

    def job(self, home: Path, **environ: str | None) -> Ferry:
        """A job of GitHub's, in a fresh home."""
        home.mkdir(exist_ok=True)
        known = {**self.provider.environment, "FERRY_REGISTRY": self.house.host, **environ}
        person = Ferry(home, {name: value for name, value in known.items() if value is not None})
        for model in ("tiny", "other"):
            put_model(person.models, f"{self.house.host}/acme/{model}/v1", model.encode() * 1000)
        return person

    def gitlab(self, home: Path, audience: str = "") -> Ferry:
        """A job of GitLab's, which is given one ID token."""
        token = self.provider.token(audience or f"http://{self.house.host}")
        variables = dict.fromkeys(self.provider.environment)
        return self.job(home, **variables, GITLAB_CI="true", FERRY_ID_TOKEN=token)


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ci]:
    home = tmp_path_factory.mktemp("ci")
    house = House(Ferry(home)).open()
    try:
        with provider() as here:
            house("user", "add", "acme").well()
            made = Ci(house, here)
            for model in ("tiny", "other"):
                added = house(
                    *("publisher", "add", f"acme/{model}", "--issuer", here.url),
                    *("--claim", CLAIM, "--claim", "ref=refs/heads/main"),
                ).well()
                made.tiny = made.tiny or re.findall(r"publisher (\S+)\)", added.out)[0]
            yield made
    finally:
        house.close()


def test_publishers_are_listed_as_scripts_are_promised(ci: Ci) -> None:
    listed = ci.house("publisher", "list", "--format", "json").well().json
    claims = {"repository_owner_id": "65", "ref": "refs/heads/main"}
    assert [set(each) for each in listed] == [{"id", "repository", "issuer", "claims"}] * 2
    assert listed[1] == {
        "id": ci.tiny,
        "repository": "acme/tiny",
        "issuer": ci.provider.url,
        "claims": claims,
    }
    text = ci.house("publisher", "list", "acme").well().out
    assert f"{ci.tiny}  acme/tiny" in text
    assert max(map(len, text.splitlines())) <= 80
    assert CLAIM in text


def test_a_job_publishes_without_a_secret(ci: Ci, tmp_path: Path) -> None:
    """The first question meets keys that are not fetched yet; the push asks again by itself."""
    ferry = ci.job(tmp_path / "home")
    done = ferry("push", f"{ci.house.host}/acme/tiny:v1", f"{ci.house.host}/acme/tiny:github").well()
    assert f"ferry: {ci.house.host} knows this GitHub Actions job by its own identity" in done.err
    assert "v1" in ferry("push", f"{ci.house.host}/acme/other:v1").well().out
    assert set(ci.provider.audiences) == {f"http://{ci.house.host}"}
    audit = ci.house("audit", "--format", "json").well().json
    pushed = [row for row in audit if row["repository"] == "acme/tiny"]
    assert [row["action"] for row in pushed if row["action"].startswith("publisher.")] == [
        "publisher.add",
        "publisher.exchange",
    ]
    assert {row["user"] for row in pushed[1:]} == {f"publisher:{ci.tiny}"}
    assert JOB["sub"] in str(pushed[1])


def test_a_job_of_gitlab_publishes_two_models_by_two_commands(ci: Ci, tmp_path: Path) -> None:
    ferry = ci.gitlab(tmp_path / "home")
    for model in ("tiny", "other"):
        ferry("push", f"{ci.house.host}/acme/{model}:v1").well()
    told = ferry("whoami", ci.house.host).well().out
    assert "with the identity of this CI job" in told
    assert "chosen: the CI job's own identity" in told
    kept = [*(tmp_path / "home" / ".local" / "state" / "ferry" / "ci").iterdir()]
    assert [each.stat().st_mode & 0o777 for each in kept] == [0o600]


def test_whoami_says_which_publishers_a_job_is(ci: Ci, tmp_path: Path) -> None:
    said = ci.job(tmp_path / "home")("whoami", ci.house.host, "--format", "json").well().json
    assert said["name"].startswith("publisher:")
    assert said["credential"]["kind"] == "publisher"
    assert said["credential"]["scopes"] == ["acme/other:pull,push", "acme/tiny:pull,push"]


def test_a_refused_job_is_told_why_and_what_to_do(ci: Ci, tmp_path: Path) -> None:
    ferry = ci.gitlab(tmp_path / "home", audience="https://other.example")
    done = ferry("push", f"{ci.house.host}/acme/tiny:v1")
    assert done.code == 4
    assert "identity of this GitLab job" in done.err
    assert "aud ('https://other.example')" in done.err
    assert "publisher" in done.err.partition("→")[2]


MISSING: Mapping[str, tuple[dict[str, str], str]] = {
    "GitHub": ({"GITHUB_ACTIONS": "true"}, "permissions: id-token: write"),
    "Forgejo": ({"GITHUB_ACTIONS": "true", "FORGEJO_ACTIONS": "true"}, "enable-openid-connect: true"),
    "GitHub Actions job, which would ask http://ci.example for it in clear": (
        {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": "http://ci.example/token",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
        },
        "HTTPS would do",
    ),
    "GitLab": ({"GITLAB_CI": "true"}, "id_tokens: FERRY_ID_TOKEN: aud: http://127.0.0.1:"),
}


@pytest.mark.parametrize("system", MISSING)
def test_a_job_that_may_not_say_who_it_is_is_told_what_its_workflow_lacks(
    system: str, ci: Ci, tmp_path: Path
) -> None:
    variables, lacking = MISSING[system]
    ferry = ci.job(tmp_path / "home", **{**dict.fromkeys(ci.provider.environment), **variables})
    done = ferry("push", f"{ci.house.host}/acme/tiny:v1")
    assert done.code == 4
    assert lacking in done.err
    assert system in done.err


def test_where_to_ask_for_the_identity_is_named_where_it_is_no_url(tmp_path: Path) -> None:
    variables = {"ACTIONS_ID_TOKEN_REQUEST_URL": "not a url", "FERRY_REGISTRY": "models.acme.example"}
    done = Ferry(tmp_path, {"GITHUB_ACTIONS": "true", **variables})("whoami", "models.acme.example")
    assert done.code == 2 and "ACTIONS_ID_TOKEN_REQUEST_URL: a URL that" in done.err


def test_the_identity_is_for_the_registry_that_the_job_names_and_no_other(ci: Ci, tmp_path: Path) -> None:
    asked = len(ci.provider.asked)
    ferry = ci.job(tmp_path / "home", FERRY_REGISTRY="models.acme.example")
    ferry.settings(f'[host."{ci.house.host}"]\nci = false\n')
    assert ferry("push", f"{ci.house.host}/acme/tiny:v1").code == 4
    assert len(ci.provider.asked) == asked
    ferry.settings(f'[host."{ci.house.host}"]\nci = true\n')
    ferry("push", f"{ci.house.host}/acme/tiny:v1").well()
    assert ci.provider.asked[asked:] == ["/token"]


def test_what_is_named_otherwise_comes_first(ci: Ci, tmp_path: Path) -> None:
    asked = len(ci.provider.asked)
    ferry = ci.job(tmp_path / "home", FERRY_API_KEY="fry_0000000000000000000000000000000000000")
    assert ferry("push", f"{ci.house.host}/acme/tiny:v1").code == 4
    empty = ci.job(tmp_path / "home", FERRY_ID_TOKEN="")("push", f"{ci.house.host}/acme/tiny:v1")
    assert (empty.code, "FERRY_ID_TOKEN is set, but empty" in empty.err) == (2, True)
    assert len(ci.provider.asked) == asked


def test_a_publisher_that_is_removed_publishes_no_more(ci: Ci, tmp_path: Path) -> None:
    gone = ci.house("publisher", "remove", ci.tiny).well()
    assert "do not publish acme/tiny any more" in gone.out
    assert ci.job(tmp_path / "home")("push", f"{ci.house.host}/acme/tiny:v1").code == 4
    assert ci.house("publisher", "remove", ci.tiny).code == 3
    assert ci.tiny in (ci.house.data / "revocations").read_text()


def test_an_issuer_is_removed_with_all_its_publishers(ci: Ci) -> None:
    issuer = "https://ci.corp"
    ci.house("publisher", "add", "acme/new", "--issuer", issuer, "--claim", "sub=new").well()
    assert "publish no more; they did: acme/new" in ci.house("publisher", "remove", issuer).well().out
    assert not ci.house("publisher", "list", "acme/new", "--format", "json").well().json
    assert ci.house("publisher", "remove", issuer).code == 3
    assert f'"issuer.remove", "subject": "{issuer}"' in (ci.house.data / "revocations").read_text()


def test_a_publisher_without_the_owners_number_is_refused(ci: Ci) -> None:
    words = ("publisher", "add", "acme/tiny", "--issuer", "https://gitlab.com", "--claim")
    refused = ci.house(*words, "project_path=acme/ml")
    assert refused.code == 2
    assert "project_id or namespace_id stays" in refused.err
    assert ci.house(*words, "project_id").code == 2
