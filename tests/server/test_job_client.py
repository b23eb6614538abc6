"""A client in a CI job, against the guarded registry and a CI system, without a socket and with one clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from exchange_kit import CLAIMS, published
from guarded import ORIGIN, key
from identity_provider import RUNNER, Provider
from sample_models import describe

from registry.auth.ci import AGE, JobIdentity, KeptInFile, forget
from registry.auth.credentials import Credentials
from registry.auth.session import Session
from registry.errors import DeniedError, InvalidError, NotFoundError, Reason, TransientError
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.server.depot_memory import MemoryDepot
from registry.targets.direct import Direct
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.sessions import memory_sessions
from registry.wire.exchange import PATH
from registry.wire.messages import Access, Origin, Request, Response

HERE = Origin.of(ORIGIN)
CI = "https://ci.example"
MINUTE = 60.0


class Lab:
    """The registry and the CI system; every request of the client's is kept."""

    def __init__(self) -> None:
        self.provider = Provider(CI)
        self.door = published(self.provider)
        self.provider.now = lambda: self.door.now
        self.door.serve(MemoryDepot())
        self.asked: list[Request] = []
        self.told: list[str] = []
        self.breaks = False  # the line to the CI system

    def transport(self, request: Request) -> Response:
        if not isinstance(request.body, bytes):
            request = Request(request.method, request.url, request.headers, b"".join(request.body))
        self.asked.append(request)
        if request.origin == HERE:
            return self.door.send(request)
        assert str(request.origin) == CI
        if self.breaks:
            raise TransientError("the line broke")
        status, body = self.provider.answer(request.target, request.headers.get("Authorization"))
        return Response(status, body=body)

    def session(self, job: JobIdentity, **others: object) -> Session:
        known = Credentials(jobs={HERE: job}, note=self.told.append, **others)  # type: ignore[arg-type]
        clock = lambda: self.door.now  # noqa: E731
        return Session(self.transport, HERE, known.account(HERE), clock=clock, new_nonce=lambda: "n" * 22)

    @property
    def exchanges(self) -> list[str]:
        """The kind of each token that the registry was shown for another."""
        bodies = [each.body for each in self.asked if each.target == PATH]
        forms = [parse_qs(body.decode()) for body in bodies if isinstance(body, bytes)]
        return [form["subject_token_type"][0].rpartition(":")[2] for form in forms]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.door.engine.dispose()


def actions_job() -> JobIdentity:
    return JobIdentity("GitHub Actions", f"{CI}/token?api-version=2.0", RUNNER)


def gitlab_job(lab: Lab, folder: Path | None = None, token: str = "") -> JobIdentity:
    given = token or lab.provider.token(ORIGIN)
    if folder is None:
        return JobIdentity("GitLab", id_token=given)
    return JobIdentity("GitLab", id_token=given, kept=KeptInFile(folder, given, HERE))


def begin(session: Session, repository: str = "acme/tiny") -> int:
    access = Access(repository, ("pull", "push"))
    return session(Request("POST", f"{ORIGIN}/v2/{repository}/blobs/uploads/", access=access)).status


def test_a_job_asks_for_an_id_token_and_exchanges_it(lab: Lab) -> None:
    assert begin(lab.session(actions_job())) == 202
    assert lab.provider.audiences == [ORIGIN]
    assert lab.exchanges == ["id_token"]
    assert lab.told == ["127.0.0.1:5050 knows this GitHub Actions job by its own identity"]


@pytest.mark.parametrize("kind", ["actions", "gitlab"])
def test_a_push_of_twenty_minutes_renews_its_token(kind: str, lab: Lab) -> None:
    """Each chunk takes a minute; GitLab's ID token is over, and used up, by then."""
    job = actions_job() if kind == "actions" else gitlab_job(lab)
    session = lab.session(job)
    clock = lambda: lab.door.now  # noqa: E731
    remote = Remote(Peer(session, HERE, clock), memory_sessions(), Direct(lab.transport))
    name = Name.parse("127.0.0.1:5050/acme/tiny:v1")
    data = b"0123456789" * 800_000  # more than is kept to be sent as one
    blob, config = describe(data), describe(b"{}")
    for each, content, pieces in ((blob, data, 20), (config, b"{}", 1)):
        intake = remote.receive(name, each, None)
        assert intake is not None
        size = each.size // pieces
        for number in range(pieces):
            at = number * size
            intake.write(Span(at, size), [content[at : at + size]])
            lab.door.now += MINUTE
        intake.prove()
        intake.commit()
    document = {"schemaVersion": 2, "config": config.as_json(), "layers": [blob.as_json()]}
    document["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    remote.publish(name, Manifest.parse(json.dumps(document).encode()))
    assert lab.exchanges == ["id_token", "access_token", "access_token"]  # to push too, and after 12 minutes
    assert len(lab.provider.audiences) == (1 if kind == "actions" else 0)


def test_a_job_whose_token_is_over_asks_for_a_new_id_token(lab: Lab) -> None:
    session = lab.session(actions_job())
    assert begin(session) == 202
    lab.door.now += 16 * MINUTE
    assert begin(session) == 202
    assert lab.exchanges == ["id_token", "access_token", "id_token"]


def test_two_repositories_in_one_job(lab: Lab) -> None:
    lab.door.trust(lab.provider, "acme/other", **CLAIMS)
    session = lab.session(actions_job())
    assert [begin(session), begin(session, "acme/other")] == [202, 202]
    assert lab.exchanges == ["id_token", "access_token"]


def test_two_repositories_in_one_job_of_gitlab_by_two_commands(lab: Lab, tmp_path: Path) -> None:
    lab.door.trust(lab.provider, "acme/other", **CLAIMS)
    token = lab.provider.token(ORIGIN)
    assert begin(lab.session(gitlab_job(lab, tmp_path, token))) == 202
    assert begin(lab.session(gitlab_job(lab, tmp_path, token)), "acme/other") == 202
    assert begin(lab.session(gitlab_job(lab, tmp_path, token))) == 202
    assert lab.exchanges == ["id_token", "access_token", "access_token"]
    [kept] = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert token not in kept.name


def test_a_kept_token_of_another_job_is_not_taken_nor_one_that_others_may_read(
    lab: Lab, tmp_path: Path
) -> None:
    assert begin(lab.session(gitlab_job(lab, tmp_path))) == 202
    assert begin(lab.session(gitlab_job(lab, tmp_path))) == 202
    assert lab.exchanges == ["id_token", "id_token"]
    for each in tmp_path.iterdir():
        each.chmod(0o644)
        assert KeptInFile(tmp_path, "x", HERE).read() == ""
    forget(tmp_path, each.stat().st_mtime + AGE)
    assert list(tmp_path.iterdir()) == []


def test_another_process_of_the_job_came_first(lab: Lab, tmp_path: Path) -> None:
    token = lab.provider.token(ORIGIN)
    first, second = gitlab_job(lab, tmp_path, token), gitlab_job(lab, tmp_path, token)

    class Late(KeptInFile):
        """Looks before the other process has written."""

        reads = 0

        def read(self) -> str:
            self.reads += 1
            return "" if self.reads == 1 else super().read()

    late = JobIdentity("GitLab", id_token=token, kept=Late(tmp_path, token, HERE))
    assert begin(lab.session(first)) == 202
    assert begin(lab.session(late)) == 202
    assert lab.exchanges == ["id_token", "id_token", "access_token"]
    assert second.kept.read().startswith("fry_tp_")


def test_what_the_registry_says_of_a_job_it_refuses_is_told(lab: Lab) -> None:
    lab.provider.claims["ref"] = "refs/heads/other"
    told = r"identity of this GitHub Actions job: .*ref \('refs/heads/other'"
    with pytest.raises(DeniedError, match=told) as caught:
        begin(lab.session(actions_job()))
    assert caught.value.reason is Reason.JOB_REFUSED


@pytest.mark.parametrize("minutes", [16, 40])
def test_a_job_that_paused_too_long_for_its_one_id_token_is_told_so(
    minutes: int, lab: Lab, tmp_path: Path
) -> None:
    job = gitlab_job(lab, tmp_path, lab.provider.token(ORIGIN, lab.door.now, exp=lab.door.now + 30 * MINUTE))
    assert begin(lab.session(job)) == 202
    lab.door.now += minutes * MINUTE
    with pytest.raises(DeniedError, match="its one ID token is used up or over") as caught:
        begin(lab.session(job))
    assert caught.value.reason is Reason.JOB_OVER
    assert lab.exchanges == ["id_token", "access_token", "id_token"]


def test_a_jobs_secret_does_not_go_out_in_clear() -> None:
    JobIdentity("Forgejo Actions", "http://127.0.0.1:3000/token", RUNNER)
    with pytest.raises(InvalidError, match=r"would ask http://ci.example.* in clear"):
        JobIdentity("Forgejo Actions", "http://ci.example/token", RUNNER)


def test_a_refused_job_reads_what_is_public(lab: Lab) -> None:
    lab.provider.claims["ref"] = "refs/heads/other"
    lab.door.rights.set_public("acme/tiny", True)
    session = lab.session(actions_job())
    access = Access("acme/tiny")
    answer = session(Request("GET", f"{ORIGIN}/v2/acme/tiny/tags/list", access=access))
    assert answer.status == 404  # nothing is there yet: as anybody is told
    with pytest.raises(DeniedError, match="identity of this GitHub Actions job"):
        begin(session)


def test_the_key_of_the_machine_comes_behind_the_job(lab: Lab) -> None:
    lab.provider.claims["ref"] = "refs/heads/other"
    assert begin(lab.session(actions_job(), key=key(1))) == 202
    assert lab.told == []


def test_a_system_that_gives_no_id_token_is_named(lab: Lab) -> None:
    job = JobIdentity("GitHub Actions", f"{CI}/token", "wrong")
    for status in (200, 404, 302):  # with a wrong secret: 401
        lab.provider.status = status
        with pytest.raises(DeniedError, match="asking GitHub Actions for this job's ID token: ") as caught:
            begin(lab.session(job))
        assert (caught.value.reason, caught.value.host) == (Reason.NO_ID_TOKEN, Origin.of(CI).netloc)
    lab.provider.status = 503
    with pytest.raises(TransientError, match="GitHub Actions"):
        begin(lab.session(actions_job()))


def test_a_lock_is_given_back_when_asking_fails(lab: Lab) -> None:
    """Also while somebody still looks at how it failed."""
    session = lab.session(job := actions_job())
    lab.breaks = True
    with pytest.raises(TransientError) as caught:
        begin(session)
    assert not job.lock.locked(), caught.value
    lab.breaks = False
    assert begin(session) == 202


def test_a_registry_without_the_exchange_is_asked_otherwise(lab: Lab) -> None:
    rows = {route: row for route, row in lab.door.guard.table.items() if route.value != PATH}
    lab.door.guard = replace(lab.door.guard, table=rows)
    with pytest.raises((DeniedError, NotFoundError), match="job"):
        begin(lab.session(actions_job()))


def test_each_secret_goes_to_its_own_origin_only(lab: Lab) -> None:
    token = lab.provider.token(ORIGIN)
    assert begin(lab.session(gitlab_job(lab, token=token))) == 202
    assert begin(lab.session(actions_job())) == 202
    for request in lab.asked:
        sent = f"{request.url} {[*request.headers]} {request.body!r}"
        assert (RUNNER in sent) is (str(request.origin) == CI)
        if str(request.origin) == CI:
            assert "eyJ" not in sent
            assert "fry_tp_" not in sent


@pytest.mark.parametrize(
    ("url", "asking", "given"),
    [("", "", ""), ("https://x/", "", ""), ("https://x/", "a", "b"), ("", "", "two words")],
)
def test_a_job_that_is_half_told_is_refused(url: str, asking: str, given: str) -> None:
    with pytest.raises(InvalidError):
        JobIdentity("GitHub Actions", url, asking, given)
