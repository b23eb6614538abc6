"""What a registry taught is remembered: privately, for a while, until it fails; a bad memory is none."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from real_registries import NAME, SIZE, Client
from registry_double import ORIGIN, MiB, Quirks, Registry
from sample_models import breaking, receive

from registry.errors import ProtocolError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.spans import Span
from registry.targets.method_choice import LEAST_CHUNK, MOST_CHUNK, MethodChoice
from registry.targets.methods import AGE, Learned, Method, Methods, file_methods, memory_methods
from registry.targets.peer import Peer
from registry.targets.records import ReadOnce
from registry.targets.remote import Remote
from registry.wire.messages import Request, Response

KEY = "https://models.example large"
LEARNED = Learned(Method.PATCH, 4 * MiB, 1000.0)
NO_CHUNKS = Quirks(ranged=(416, "", ""))


@pytest.fixture(params=["memory", "files"])
def methods(request: pytest.FixtureRequest, tmp_path: Path) -> Methods:
    return memory_methods() if request.param == "memory" else file_methods(tmp_path / "registries")


def test_what_was_put_is_got_until_it_is_forgotten(methods: Methods) -> None:
    assert methods.get(KEY) is None
    methods.put(KEY, LEARNED)
    assert methods.get(KEY) == LEARNED
    methods.forget(KEY)
    assert methods.get(KEY) is None


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    file_methods(tmp_path / "registries").put(KEY, LEARNED)

    [file] = (tmp_path / "registries").iterdir()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


FIELDS = '"key":"https://models.example large","method":"patch","most":1048576,"since":1'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 30_000,
        f"{{{FIELDS.replace('patch', 'pigeon')}}}",
        f"{{{FIELDS.replace('1048576', '0')}}}",
        f"{{{FIELDS.replace('1048576', 'null')}}}",
        f"{{{FIELDS.replace('example', 'other')}}}",
    ],
)
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    methods = file_methods(tmp_path)
    methods.put(KEY, LEARNED)
    [file] = tmp_path.iterdir()

    file.write_text(text)

    assert methods.get(KEY) is None
    file.write_text(f"{{{FIELDS}}}")
    assert methods.get(KEY) == Learned(Method.PATCH, MiB, 1)


def test_one_command_reads_a_lesson_once_and_knows_what_it_learned_itself(tmp_path: Path) -> None:
    stored = file_methods(tmp_path)
    methods = ReadOnce(stored)
    assert methods.get(KEY) is None
    stored.put(KEY, LEARNED)  # by another command
    assert methods.get(KEY) is None

    methods.put(KEY, LEARNED)
    assert methods.get(KEY) == stored.get(KEY) == LEARNED
    methods.forget(KEY)
    assert methods.get(KEY) is stored.get(KEY) is None
    assert ReadOnce(stored).get(KEY) is None


def test_a_registry_as_usual_teaches_nothing() -> None:
    client = Client(Registry())
    client.push()
    assert client.methods.get(KEY) is None


def test_a_lesson_is_tried_anew_when_it_is_old() -> None:
    client = Client(Registry(NO_CHUNKS))
    client.push()
    learned = client.methods.get(KEY)
    assert learned is not None and learned.method is Method.PATCH
    client.methods.put(KEY, replace(learned, since=learned.since - AGE))
    client.registry.quirks = Quirks()
    client.registry.blobs.clear()
    client.registry.asked.clear()

    client.push()

    assert client.registry.asked.count("PATCH 0-16777215 16777216") == 1


def test_a_416_to_one_whole_body_is_chance() -> None:
    class Once(Registry):
        def _patch(self, request: Request, upload: Any) -> Response:
            if self.count("PATCH") == 2:  # the first had a range
                return self._answered((416, "", ""), request)
            return super()._patch(request, upload)

    client = Client(Once(NO_CHUNKS))
    client.push()

    learned = client.methods.get(KEY)
    assert learned is not None and learned.method is Method.PATCH


def test_a_lesson_that_fails_is_forgotten_and_the_rest_is_tried() -> None:
    client = Client(Registry(NO_CHUNKS))
    client.push()
    client.registry.quirks = Quirks(patch=(405, "", ""), patches_taken=0)
    client.registry.blobs.clear()
    client.registry.received = 0

    client.push()

    learned = client.methods.get(KEY)
    assert learned is not None and learned.method is Method.PUT
    assert client.registry.received < 2.5 * SIZE


def test_a_lesson_that_fails_with_everything_else_is_forgotten_too() -> None:
    client = Client(Registry(Quirks(patch=(405, "", ""), full_closing=(405, "", ""))))
    client.methods.put(KEY, Learned(Method.PATCH, MOST_CHUNK, client.time.now))

    with pytest.raises(ProtocolError, match="in no way"):
        client.push()

    assert client.methods.get(KEY) is None


def test_a_limit_from_the_future_or_out_of_bounds_is_kept_within_them() -> None:
    assert MethodChoice(False, Learned(Method.CHUNKS, 1, 1000.0), 1000.0).most == LEAST_CHUNK
    assert MethodChoice(False, Learned(Method.CHUNKS, 10**15, 1000.0), 1000.0).most == MOST_CHUNK
    assert MethodChoice(False, Learned(Method.PUT, MiB, 9000.0), 1000.0).method is Method.CHUNKS


def test_a_whole_blob_whose_answer_was_lost_is_not_sent_again() -> None:
    registry = Registry(Quirks(patch=(405, "", ""), ranged=(405, "", "")))
    lost: list[str] = []

    def far(request: Request) -> Response:
        answer = registry(request)
        if request.method == "PUT" and (request.length or 0) > MiB and not lost:
            lost.append(request.url)
            raise TransientError("the answer was lost", answered=True)
        return answer

    client = Client(far)  # type: ignore[arg-type]
    client.methods.put(KEY, Learned(Method.PUT, MOST_CHUNK, client.time.now))

    client.push()

    assert lost
    assert registry.received < SIZE + 10_000


def refused(_chunks: Iterable[bytes]) -> None:
    raise TransientError("refused the connection")


def broken(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        raise TransientError("closed the connection")


def whole(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def gone() -> Iterable[bytes]:
    return breaking(b"x", TransientError("the source broke"))


@pytest.mark.parametrize(
    ("line", "source", "first"),
    [(broken, lambda: [b"x"], 8 * MiB), (refused, lambda: [b"x"], 16 * MiB), (whole, gone, 16 * MiB)],
    ids=["the line breaks within the body", "nobody is there", "the source breaks"],
)
def test_only_a_body_that_broke_on_its_way_makes_chunks_smaller(
    line: Callable[[Iterable[bytes]], None], source: Callable[[], Iterable[bytes]], first: int
) -> None:
    registry = Registry()

    def far(request: Request) -> Response:
        if request.method == "PATCH":
            assert not isinstance(request.body, bytes)
            line(request.body)
        return registry(request)

    blob = Descriptor("application/octet-stream", Digest.of(b"x"), 64 * MiB)
    intake = receive(Remote(Peer(far, ORIGIN)), NAME, blob)
    for _ in range(3):
        with pytest.raises(TransientError):
            intake.write(Span(0, 16 * MiB), source())
        intake.resume()

    assert intake.chunk_rules.first == first


def test_chunks_that_shrank_grow_again_when_they_are_kept() -> None:
    choice = MethodChoice(False)
    choice.busy(16 * MiB)
    choice.busy(16 * MiB)
    assert choice.most == 8 * MiB

    for chunk in range(8):
        choice.kept((chunk + 1) * 8 * MiB)

    assert choice.most == 16 * MiB


def test_chunks_that_break_at_one_size_again_do_not_grow_back_to_it() -> None:
    choice = MethodChoice(False)
    for held in (0, 64 * MiB):
        choice.broke(16 * MiB, "closed")
        choice.broke(16 * MiB, "closed")
        for chunk in range(8):
            choice.kept(held + (chunk + 1) * 8 * MiB)

    assert choice.most == 8 * MiB
    assert choice.worked(5.0) == Learned(Method.CHUNKS, 8 * MiB, 5.0)


def test_a_whole_body_is_refused_by_chance_once_and_not_twice_in_a_row() -> None:
    choice = MethodChoice(small=False)
    choice.refused("416", at_once=True)

    assert not choice.refused("416", at_once=False)
    choice.broke(60, "reset")
    assert not choice.refused("416", at_once=False)
    assert choice.refused("416", at_once=False)
    assert choice.tried == "chunks with Content-Range: 416; one PATCH with all bytes: 416"


@pytest.mark.parametrize(("chunks", "learned"), [(1, None), (2, Learned(Method.PATCH, MOST_CHUNK, 5.0))])
def test_one_chunk_whose_bytes_are_wrong_teaches_nothing_about_the_registry(
    chunks: int, learned: Learned | None
) -> None:
    """A bit that a source sent wrong once made every upload there one that cannot be resumed, for a month."""
    choice = MethodChoice(small=False)
    for chunk in range(chunks):
        choice.kept((chunk + 1) * MiB)

    assert choice.wrong_bytes("DIGEST_INVALID")

    assert choice.worked(5.0) == learned
