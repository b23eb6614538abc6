"""The workflow files in fixtures/ci do what they say: their shell steps are run as each CI system runs them.

Only the step that installs Ferry is left out; a runner's variables, its secrets and its identity provider are
here, the registry is a real one, and `$TMPDIR` is not set.
"""

from __future__ import annotations

import base64
import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from house import House
from identity_provider import JOB, Provider, provider
from person import Ferry
from shell import ROOT, put_ferry

FIXTURES = ROOT / "fixtures"
WRITTEN = "models.acme.example"  # the registry in the files
SYSTEMS = ("github", "forgejo", "gitlab")
yaml: Any = importlib.import_module("yaml")  # without types, and here because of gguf


@dataclass(frozen=True)
class Job:
    """A job of a workflow file: what the runner is told, and the shell scripts that it runs."""

    system: str
    name: str
    environ: Mapping[str, str]
    scripts: tuple[str, ...]
    asks: bool  # it may have an ID token

    @classmethod
    def all(cls, system: str) -> Iterator[Job]:
        document = yaml.safe_load((FIXTURES / "ci" / f"{system}.yml").read_text())
        if system == "gitlab":
            for name, job in document.items():
                if name not in ("default", "variables"):
                    script = "\n".join(job["script"])
                    yield cls(system, name, document["variables"], (script,), "id_tokens" in job)
            return
        for name, job in document["jobs"].items():
            environ = {**document["env"], **job.get("env", {})}
            steps = [each for each in job["steps"] if "run" in each and each["name"] != "Install ferry"]
            asks = "id-token" in job.get("permissions", {}) or bool(job.get("enable-openid-connect"))
            yield cls(system, name, environ, tuple(each["run"] for each in steps), asks)


@dataclass
class Runner:
    """A machine that runs jobs, and the registry that they publish at."""

    house: House
    provider: Provider
    secrets: Mapping[str, str]
    bin: Path
    said: list[str] = field(default_factory=list)

    def run(self, job: Job, home: Path, tag: str = "v1", **changed: str) -> subprocess.CompletedProcess[str]:
        """The job's scripts one after another, until one fails; the last one's end, with the whole log."""
        shutil.copytree(FIXTURES, home)
        environ = {name: self._meant(value) for name, value in job.environ.items()}
        environ |= {"HOME": str(home), "PATH": f"{self.bin}:/usr/bin:/bin", **self._told(job, tag)}
        environ |= changed
        log = ""
        for script in job.scripts:
            shell = ["bash", "-e", "-c"] if job.system != "gitlab" else ["sh", "-e", "-c"]
            done = subprocess.run(
                [*shell, script],
                cwd=home,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            log += done.stdout
            if done.returncode:
                break
        return subprocess.CompletedProcess(done.args, done.returncode, log)

    def _meant(self, value: str) -> str:
        """A value of the file with secrets and the real registry in it."""
        value = re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda found: self.secrets[found[1]], value)
        return value.replace(WRITTEN, self.house.host)

    def _told(self, job: Job, tag: str) -> dict[str, str]:
        """What the runner itself tells a job."""
        if job.system == "gitlab":
            told = {"GITLAB_CI": "true", "CI_COMMIT_TAG": tag}
            secret = {"publish-with-a-key": "FERRY_KEY", "publish-with-an-api-key": "FERRY_API_KEY"}
            if job.name in secret:
                told[secret[job.name]] = self.secrets[secret[job.name]]
            if job.asks:
                told["FERRY_ID_TOKEN"] = self.provider.token(f"http://{self.house.host}")
            return told
        told = {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": tag}
        if job.system == "forgejo":
            told["FORGEJO_ACTIONS"] = "true"
        return {**told, **(self.provider.environment if job.asks else {}), "GITHUB_ACTIONS": "true"}

    def tags(self) -> str:
        return self.house.admin("tags", f"{self.house.host}/acme/tiny").well().out


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    home = tmp_path_factory.mktemp("runner")
    house = House(Ferry(home)).open()
    try:
        with provider() as here:
            house.welcome(house.admin, "acme")
            owner = f"repository_owner_id={JOB['repository_owner_id']}"
            house("publisher", "add", "acme/tiny", "--issuer", here.url, "--claim", owner).well()
            made = house.admin("keys", "create", "--scope", "acme/*:push", "--host", house.host).well()
            key = (home / ".ollama" / "id_ed25519").read_bytes()
            secrets = {"FERRY_API_KEY": made.out.strip(), "FERRY_KEY": base64.b64encode(key).decode()}
            yield Runner(house, here, secrets, put_ferry(home / "bin"))
    finally:
        house.close()


JOBS = [job for system in SYSTEMS for job in Job.all(system)]
# Those whose steps are the same as another's are compared, not run again: a process costs half a second.
_RUN = (("github", "publish"), ("github", "publish-with-an-api-key"), ("gitlab", "publish"))
RUN = [job for job in JOBS if (job.system, job.name) in (*_RUN, ("gitlab", "publish-with-a-key"))]


@pytest.mark.parametrize("job", RUN, ids=lambda job: f"{job.system} {job.name}")
def test_the_steps_of_each_job_publish_the_model(job: Job, runner: Runner, tmp_path: Path) -> None:
    tag = f"{job.system}-{JOBS.index(job)}"
    done = runner.run(job, tmp_path / "home", tag)
    assert done.returncode == 0, done.stdout
    assert tag in runner.tags()
    assert job.asks is ("job by its own identity" in done.stdout)
    for secret in runner.secrets.values():
        assert secret not in done.stdout


def test_each_file_shows_the_three_ways() -> None:
    names = ["publish", "publish-with-an-api-key", "publish-with-a-key"]
    for system in SYSTEMS:
        jobs = [job for job in JOBS if job.system == system]
        assert [job.name for job in jobs] == names
        assert [job.asks for job in jobs] == [True, False, False]


def test_the_steps_that_are_not_run_are_the_same_as_those_that_are() -> None:
    def commands(job: Job) -> list[str]:
        lines = "\n".join(job.scripts).replace("CI_COMMIT_TAG", "GITHUB_REF_NAME").splitlines()
        return [line for line in lines if line != "ferry tags acme/tiny"]

    assert len({(*commands(job),) for job in JOBS}) == 1
    assert {job.name for job in RUN} == {job.name for job in JOBS}


def test_a_push_that_fails_shows_why_in_the_log(runner: Runner, tmp_path: Path) -> None:
    """Another owner's job: what the registry says of it ends the job, and is its last words."""
    [job] = [each for each in JOBS if each.system == "gitlab" and each.asks]
    runner.provider.claims["repository_owner_id"] = "66"
    try:
        done = runner.run(job, tmp_path / "home")
    finally:
        runner.provider.claims["repository_owner_id"] = "65"
    assert done.returncode == 4
    assert "repository_owner_id ('66')" in done.stdout.splitlines()[-1] + done.stdout.splitlines()[-2]
