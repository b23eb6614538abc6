"""What happens to a direct upload on the way: closing, vanishing, parts, a source that breaks."""

from __future__ import annotations

import pytest
from far_storage import BLOB, DATA, NAME, SIZE, Far, push, remote
from sample_models import breaking, chunked

from registry.errors import RegistryError, TransientError
from registry.model.spans import Span
from registry.targets.direct import DirectIntake
from registry.wire.messages import Request, Response


def test_a_closing_put_that_failed_is_repeated_without_the_bytes() -> None:
    far = Far(closing=[Response(503), Response(503)])

    push(far)

    assert (len(far.stored), far.patched) == (1, 0)


def test_a_session_that_vanished_before_it_was_closed_takes_the_bytes_anew() -> None:
    far = Far()
    intake = remote(far).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)
    intake.write(Span(0, SIZE), chunked(DATA))
    far.drop_sessions()

    with pytest.raises(TransientError):
        intake.commit()
    intake.resume()

    assert not intake.received
    intake.write(Span(0, SIZE), chunked(DATA))
    intake.commit()
    assert (len(far.stored), far.asks) == (2, 2)


def test_a_blob_in_parts_goes_to_the_session() -> None:
    far = Far()
    intake = remote(far).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)

    for part in Span(0, SIZE).cut(100_000):
        intake.write(part, chunked(DATA[part.offset : part.end]))
    intake.commit()

    assert (far.stored, far.patched) == ([], SIZE)


def test_nothing_is_closed_that_was_not_sent() -> None:
    far = Far(storing=[Response(403)])
    intake = remote(far).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)
    with pytest.raises(TransientError):
        intake.write(Span(0, SIZE), chunked(DATA))

    with pytest.raises(RegistryError):
        intake.commit()

    assert not [request for request in far.asked if request.method == "PUT"]


def test_an_error_of_the_source_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = TransientError("the source went away")

    def storage(request: Request) -> Response:
        assert not isinstance(request.body, bytes)
        for _ in request.body:
            pass
        return Response(200)

    far = Far()
    monkeypatch.setattr(far, "storage", storage)
    intake = remote(far).receive(NAME, BLOB, None)
    assert isinstance(intake, DirectIntake)

    with pytest.raises(TransientError) as caught:
        intake.write(Span(0, SIZE), breaking(DATA[:1000], broken))

    assert caught.value is broken
    assert not intake.received
