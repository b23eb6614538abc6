"""Every request says what it is for; an upload's URL alone does not tell (DESIGN, rule 12)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sample_models import describe

from registry.connect import in_process
from registry.contracts import How
from registry.errors import DeniedError
from registry.model.names import Name
from registry.model.spans import Span
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.table import Unguarded
from registry.targets.mounted import MountedIntake
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.upload import SMALL_BYTES, UploadIntake
from registry.wire.headers import Headers
from registry.wire.messages import Access, Origin, Request, Response, Transport
from registry.wire.redirects import next_hop

ORIGIN = Origin("https", "models.example", 443)
TINY = Name.parse("models.example/acme/tiny:1")
OTHER = Name.parse("models.example/ben/other:1")
DATA = bytes(SMALL_BYTES + 1)
BLOB = describe(DATA)
READING, WRITING = Access("acme/tiny"), Access("acme/tiny", ("pull", "push"))


@dataclass
class Spy:
    """A registry that writes down what each request is for."""

    transport: Transport = field(default_factory=lambda: in_process(Unguarded(App(MemoryDepot()))))
    asked: list[tuple[str, Access | None]] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        self.asked.append((request.method, request.access))
        return self.transport(request)


def put(remote: Remote, name: Name, near: Name | None = None) -> How:
    intake = remote.receive(name, BLOB, near)
    assert isinstance(intake, UploadIntake | MountedIntake)
    if intake.how is not How.MOUNTED:
        intake.write(Span(0, BLOB.size), [DATA])
        intake.commit()
    return intake.how


def test_each_request_names_its_repository_and_its_actions() -> None:
    spy = Spy()

    put(Remote(Peer(spy, ORIGIN)), TINY)

    assert spy.asked == [("HEAD", READING), ("POST", WRITING), ("PATCH", WRITING), ("PUT", WRITING)]


def test_a_mount_names_both_repositories() -> None:
    spy = Spy()
    remote = Remote(Peer(spy, ORIGIN))
    put(remote, TINY)
    spy.asked.clear()

    how = put(remote, OTHER, near=TINY)

    assert how is How.MOUNTED
    assert spy.asked[-1] == ("POST", Access("ben/other", ("pull", "push"), mounted_from="acme/tiny"))


def test_a_mount_without_the_right_to_its_source_becomes_an_upload() -> None:
    spy = Spy()
    remote = Remote(Peer(spy, ORIGIN))
    put(remote, TINY)

    def strict(request: Request) -> Response:
        if request.access is not None and request.access.mounted_from:
            raise DeniedError("no right to read there")
        return spy(request)

    assert put(Remote(Peer(strict, ORIGIN)), OTHER, near=TINY) is How.UPLOADED
    assert remote.size(OTHER, BLOB) == BLOB.size


def test_where_a_mount_is_not_granted_the_upload_that_was_begun_goes_on() -> None:
    """Also in a run after that: the session that such a mount opened is not the one to remember."""
    remote = Remote(Peer(Spy(), ORIGIN))
    begun = remote.receive(TINY, BLOB, None)
    assert isinstance(begun, UploadIntake)
    begun.write(Span(0, 100), [DATA[:100]])

    for _ in range(2):
        intake = remote.receive(TINY, BLOB, near=OTHER)

        assert isinstance(intake, UploadIntake)
        assert (intake.how, intake.received.front) == (How.RESUMED, 100)


def test_an_upload_that_was_begun_is_forgotten_where_the_blob_is_mounted() -> None:
    remote = Remote(Peer(Spy(), ORIGIN))
    begun = remote.receive(OTHER, BLOB, None)
    assert isinstance(begun, UploadIntake)
    put(remote, TINY)

    assert put(remote, OTHER, near=TINY) is How.MOUNTED
    assert remote.sessions.get(f"{ORIGIN}/ben/other@{BLOB.digest}") is None


def test_what_is_about_no_repository_says_so() -> None:
    spy = Spy()
    remote = Remote(Peer(spy, ORIGIN))
    put(remote, TINY)
    spy.asked.clear()

    assert list(remote.repositories()) == ["acme/tiny"]
    remote.size(TINY, BLOB)

    assert spy.asked == [("GET", None), ("HEAD", READING)]


def test_a_redirect_within_the_registry_is_for_the_same() -> None:
    before = Request("GET", f"{ORIGIN}/v2/acme/tiny/blobs/x", access=READING)

    after = next_hop(before, Response(307, Headers({"Location": "/elsewhere"})))

    assert after.access == READING
    assert next_hop(before, Response(307, Headers({"Location": "https://cdn.example/x"}))).access is None
