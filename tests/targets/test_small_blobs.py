"""Many blobs are small, and requests are what their push costs: two a blob, one if it is there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from sample_models import describe

from registry.errors import TransientError
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.upload import SMALL_BYTES, UploadIntake
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

ORIGIN = Origin("https", "models.example", 443)
NAME = Name.parse("models.example/acme/tiny:1")
SMALL = describe(b"small")
OPENED = Response(202, Headers({"Location": "/v2/acme/tiny/blobs/uploads/one"}))

Answer = Callable[[Request], Response]


class Far:
    """A registry that answers a mount with `mount`, and everything else as one without the blob does."""

    def __init__(self, mount: Answer) -> None:
        self.asked: list[str] = []
        self.mounts: list[Request] = []
        self._mount = mount

    def __call__(self, request: Request) -> Response:
        mount = request.parameter("mount") is not None
        self.asked.append("mount" if mount else request.method)
        if mount:
            self.mounts.append(request)
            return self._mount(request)
        return {"HEAD": Response(404), "POST": OPENED, "PUT": Response(201)}[request.method]


def remote(far: Far) -> Remote:
    return Remote(Peer(far, ORIGIN))


def send(target: Remote, chunks: Iterable[bytes] = (b"small",)) -> None:
    intake = target.receive(NAME, SMALL, None)
    assert isinstance(intake, UploadIntake)
    intake.write(Span(0, SMALL.size), chunks)
    intake.commit()


def test_one_request_asks_for_a_small_blob_and_opens_its_upload() -> None:
    far = Far(lambda _: OPENED)

    send(remote(far))

    assert far.asked == ["mount", "PUT"]
    assert far.mounts[0].query == [("mount", str(SMALL.digest)), ("from", "acme/tiny")]


def test_a_small_blob_that_is_there_costs_one_request() -> None:
    far = Far(lambda _: Response(201))

    assert remote(far).receive(NAME, SMALL, None) is None
    assert far.asked == ["mount"]


def test_a_blob_that_is_not_small_is_asked_for_first() -> None:
    far = Far(lambda _: Response(201))

    remote(far).receive(NAME, describe(bytes(SMALL_BYTES + 1)), None)

    assert far.asked == ["HEAD", "POST"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 416, 500, 503])
def test_a_registry_that_does_not_take_such_a_mount_is_asked_the_long_way_from_then_on(status: int) -> None:
    far = Far(lambda _: Response(status))
    target = remote(far)

    send(target)
    send(target)

    assert far.asked == ["mount", "HEAD", "POST", "PUT", "HEAD", "POST", "PUT"]


def test_a_line_that_breaks_says_nothing_about_the_registry() -> None:
    answers: list[Response | TransientError] = [TransientError("the line broke"), OPENED]

    def mount(_request: Request) -> Response:
        answer = answers.pop(0)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    far = Far(mount)
    target = remote(far)

    with pytest.raises(TransientError):
        target.receive(NAME, SMALL, None)
    send(target)

    assert far.asked == ["mount", "mount", "PUT"]
