"""Digests have one spelling; spans are sets of bytes."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.model.digests import Digest, new_hasher
from registry.model.spans import Span, Spans, SpanSet

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (2, "0-2, 10-12"), (7, "0-2, 10-12, 20-22, 30-32, 40-42 and 2 more")]
)
def test_many_spans_are_told_shortly(count: int, said: str) -> None:
    assert str(Spans.of(Span(10 * at, 2) for at in range(count))) == said


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"])
def test_a_digest_reads_back(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "sha256", "sha256:", f":{HEX}", HEX, f"sha256:{HEX}:", f"sha256::{HEX}", f"sha256-{HEX}"),
        *(
            f"sha256:{HEX[1:]}",
            f"sha256:{HEX}0",
            f"sha256:{HEX.upper()}",
            f"SHA256:{HEX}",
            f"sha256: {HEX[1:]}",
        ),
        *(
            f"sha256:{HEX}\n",
            f"\nsha256:{HEX}",
            f"sha256:{HEX[:-1]}g",
            f"sha256:{HEX[:-1]}٣",
            f"sha512:{HEX}",
        ),
        *(
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha1:" + "0" * 40,
            f"sha384:{HEX}{HEX[:32]}",
            f"sha3:{HEX}",
        ),
        *(
            "sha256:../../etc/passwd",
            "sha256:" + "../" * 21 + "x",
            "sha256:" + "0" * 63 + "/",
            "x" * 10_000_000,
        ),
        *(
            "sha256:" + "\x00" * 64,
            f"sha256:{HEX}@sha256:{HEX}",
            "sha256:0x" + "0" * 62,
            "sha256:+" + "0" * 63,
        ),
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Digest.parse(text)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("value", [None, 1, b"sha256:" + HEX.encode(), ["sha256"], {"a": 1}])
def test_what_is_not_text_is_no_digest(value: object) -> None:
    with pytest.raises(InvalidError):
        Digest.parse(value)  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_is_the_hash_of_the_bytes(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)

    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert Digest.parse(str(digest)) == digest
    hasher = digest.hasher()
    assert digest.matches(hasher) == (data == b"")
    hasher.update(data)
    assert digest.matches(hasher)


def test_no_other_hash_is_made() -> None:
    with pytest.raises(InvalidError):
        new_hasher("md5")


SPANS = st.builds(Span, st.integers(0, 60), st.integers(0, 20))


def bytes_of(spans: Spans | list[Span]) -> set[int]:
    return {at for span in spans for at in range(span.offset, span.end)}


@given(st.lists(SPANS, max_size=8))
def test_a_set_of_spans_holds_exactly_their_bytes_in_order_and_apart(spans: list[Span]) -> None:
    union = Spans.of(spans)

    assert bytes_of(union) == bytes_of(spans)
    assert union.total == len(bytes_of(spans))
    assert all(span.length for span in union)
    assert all(left.end < right.offset for left, right in zip(union, list(union)[1:], strict=False))


@given(st.lists(SPANS, max_size=8), st.integers(0, 90))
def test_missing_and_held_are_the_whole(spans: list[Span], size: int) -> None:
    union = Spans.of(spans)

    missing = bytes_of(union.missing(size))

    assert missing == set(range(size)) - bytes_of(union)


@given(st.lists(SPANS, max_size=8), SPANS)
def test_adding_cutting_out_and_the_front(spans: list[Span], span: Span) -> None:
    union = Spans.of(spans)

    assert bytes_of(union.add(span)) == bytes_of(union) | bytes_of([span])
    assert bytes_of(union.within(span)) == bytes_of(union) & bytes_of([span])
    assert set(range(union.front)) <= bytes_of(union)
    assert union.front not in bytes_of(union)


@given(SPANS, st.integers(1, 9))
def test_cutting_loses_nothing_and_keeps_the_order(span: Span, grain: int) -> None:
    pieces = list(span.cut(grain))

    assert [at for piece in pieces for at in range(piece.offset, piece.end)] == list(
        range(span.offset, span.end)
    )
    assert all(0 < piece.length <= grain for piece in pieces)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (-1, -1)])
def test_a_span_is_not_negative(offset: int, length: int) -> None:
    with pytest.raises(InvalidError):
        Span(offset, length)


CHANGES = st.lists(st.builds(Span, st.integers(0, 60), st.integers(0, 12)), max_size=12)


@given(CHANGES, CHANGES, st.builds(Span, st.integers(0, 70), st.integers(0, 12)))
def test_a_set_that_changes_holds_what_plain_arithmetic_says(
    added: list[Span], taken: list[Span], asked: Span
) -> None:
    changing = SpanSet(added[:3])
    expected = {byte for span in added[:3] for byte in range(span.offset, span.end)}
    for number, span in enumerate(added[3:]):
        changing.add(span)
        expected |= set(range(span.offset, span.end))
        for gone in taken[number : number + 1]:
            changing.discard(gone)
            expected -= set(range(gone.offset, gone.end))
        assert changing.frozen() == Spans.of(Span(byte, 1) for byte in expected)

    assert changing.total == len(expected)
    assert changing.touches(asked) == bool(expected & set(range(asked.offset, asked.end)))
    reach = next(byte for byte in range(asked.offset, 100) if byte not in expected)
    assert changing.reach(asked.offset) == reach


@pytest.mark.seeds(3)
def test_gaps_are_what_is_missing_of_a_span(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        there = Spans.of(Span(chance.randrange(60), chance.randrange(9)) for _ in range(chance.randrange(8)))
        span = Span(chance.randrange(60), chance.randrange(30))
        whole = there.missing(100)
        assert Spans(tuple(there.gaps(span))) == whole.within(span)
