"""A registry that lies about uploads: every lie is one error of the expected class, or changes nothing."""

from __future__ import annotations

import pytest
from sample_models import receive
from scripted import BLOB, NAME, ORIGIN, Script, answer, remote

from registry.errors import CorruptError, DeniedError, ProtocolError, RegistryError, TransientError
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.upload import UploadIntake
from registry.wire import faults
from registry.wire.messages import Request, Response


def start(remote: Remote) -> UploadIntake:
    """An upload that was begun, as one of a blob that is not small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry.targets.upload.SMALL_BYTES", 0)
        intake = UploadIntake(remote.peer, remote.sessions, remote.methods, NAME, BLOB)
    intake.begin()
    return intake


def push(remote: Remote) -> None:
    intake = start(remote)
    intake.write(Span(0, 4), [b"0123"])
    intake.write(Span(4, 6), [b"456789"])
    intake.commit()


HERE = "/v2/acme/tiny/blobs/uploads/one"
OPENED = answer(202, Location=HERE)
WRONG = faults.fault("DIGEST_INVALID", "that is something else")

UPLOADS: dict[str, tuple[list[Response], type[RegistryError]]] = {
    "no location": ([answer(202)], ProtocolError),
    "another host": ([answer(202, Location="https://evil.example/x")], ProtocolError),
    "another scheme": ([answer(202, Location="http://models.example/x")], ProtocolError),
    "another port": ([answer(202, Location="https://models.example:8443/x")], ProtocolError),
    "scheme-relative": ([answer(202, Location="//evil.example/x")], ProtocolError),
    "a file": ([answer(202, Location="file:///etc/passwd")], ProtocolError),
    "with a password": ([answer(202, Location="https://a:b@models.example/x")], ProtocolError),
    "with a space": ([answer(202, Location="/v2/x y")], ProtocolError),
    "moves away in the middle": ([OPENED, answer(202, Location="https://evil.example/x")], ProtocolError),
    "says it is done at once": ([answer(201)], ProtocolError),
    "vanished": ([OPENED, answer(404)], TransientError),
    "wants another offset": ([OPENED, answer(416)], TransientError),
    "busy": ([OPENED, answer(503)], TransientError),
    "denied in the middle": ([OPENED, answer(403)], DeniedError),
    "redirects a part": ([OPENED, answer(307, Location="https://evil.example/")], ProtocolError),
    "wrong digest": (
        [OPENED, answer(202, Location=HERE, Range="0-3"), answer(202, Range="0-9"), WRONG],
        CorruptError,
    ),
    "chunks of a terabyte": (
        [answer(202, Location=HERE, OCI_Chunk_Min_Length="1000000000000")],
        ProtocolError,
    ),
    "chunks of words": ([answer(202, Location=HERE, OCI_Chunk_Min_Length="many")], ProtocolError),
}


@pytest.mark.parametrize("case", UPLOADS)
def test_an_upload_that_lies_is_one_error(case: str) -> None:
    answers, expected = UPLOADS[case]

    with pytest.raises(expected) as caught:
        push(remote(*answers))

    assert type(caught.value) is expected


def test_an_honest_upload_goes_through() -> None:
    script = Script([OPENED, answer(202, Location=HERE, Range="0-3"), answer(202, Range="0-9"), answer(201)])

    push(Remote(Peer(script, ORIGIN)))

    assert [request.method for request in script.asked] == ["POST", "PATCH", "PATCH", "PUT"]
    assert script.asked[-1].url == f"https://models.example{HERE}?digest=sha256%3A{BLOB.digest.hex}"


@pytest.mark.parametrize("told", ["0-99", "0-9", "0-1", "2-3", "5-9", "all of it", "0-0"])
def test_what_a_part_that_was_taken_is_said_to_make_changes_nothing(told: str) -> None:
    script = Script([OPENED, answer(202, Location=HERE, Range=told), answer(202, Range=told), answer(201)])

    push(Remote(Peer(script, ORIGIN)))

    assert [request.method for request in script.asked] == ["POST", "PATCH", "PATCH", "PUT"]


@pytest.mark.parametrize(
    "told, held", [("0-3", 4), ("0-1", 2), ("0-7", 4), ("0-99", 4), ("2-3", 4), ("0-0", 0)]
)
def test_after_a_broken_part_no_more_is_believed_than_was_sent(told: str, held: int) -> None:
    def far(request: Request) -> Response:
        if request.method == "PATCH":
            assert b"".join(request.body) == b"0123"  # type: ignore[arg-type]
            raise TransientError("the line broke")
        return OPENED if request.method == "POST" else answer(204, Location=HERE, Range=told)

    intake = start(Remote(Peer(far, ORIGIN)))

    with pytest.raises(TransientError):
        intake.write(Span(0, 4), [b"0123"])
    intake.resume()

    assert intake.received.total == held


def test_a_locations_query_is_kept_byte_for_byte() -> None:
    signed = f"{HERE}?sig=a%2Fb%2fc+d&_state=x%3D%3D"
    script = Script([answer(202, Location=signed), answer(202, Location=signed, Range="0-3"), answer(201)])
    intake = start(Remote(Peer(script, ORIGIN)))

    intake.write(Span(0, 4), [b"0123"])
    intake.commit()

    assert script.asked[1].url == f"https://models.example{signed}"
    assert script.asked[2].url.startswith(f"https://models.example{signed}&digest=")


def test_a_small_blob_goes_up_inside_the_closing_request() -> None:
    script = Script([OPENED, answer(201)])
    intake = receive(Remote(Peer(script, ORIGIN)), NAME, BLOB)

    intake.write(Span(0, 10), [b"01234", b"56789"])
    intake.commit()

    assert [request.method for request in script.asked] == ["POST", "PUT"]
    assert script.asked[1].body == b"0123456789"


@pytest.mark.parametrize("chunks", [[b"012345678"], [b"0123456789", b"x"]], ids=["fewer", "more"])
def test_other_bytes_than_announced_are_never_sent(chunks: list[bytes]) -> None:
    script = Script([OPENED, answer(201)])
    intake = receive(Remote(Peer(script, ORIGIN)), NAME, BLOB)

    with pytest.raises(ProtocolError):
        intake.write(Span(0, 10), chunks)

    assert [request.method for request in script.asked] == ["POST"]
