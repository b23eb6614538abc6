"""The form of API keys: made from random bytes, told from everything else by their check sum."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.auth.api_keys import PREFIX, SERVICE_PREFIX, is_api_key, last_four, make
from registry.errors import InvalidError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ZEROS = "0" * 30
RANDOM = st.binary(min_size=32, max_size=32)


def number(digits: str) -> int:
    return sum(ALPHABET.index(digit) * 62**place for place, digit in enumerate(reversed(digits)))


def test_a_key_is_the_prefix_thirty_characters_and_six_of_check_sum() -> None:
    key = make(bytes(32))
    assert key[:34] == f"{PREFIX}{ZEROS}" and len(key) == 40
    assert number(key[34:]) == crc32(ZEROS.encode())


@given(RANDOM)
def test_a_service_accounts_key_differs_by_its_prefix_only(random: bytes) -> None:
    key = make(random, SERVICE_PREFIX)
    assert key == SERVICE_PREFIX + make(random).removeprefix(PREFIX)
    assert is_api_key(key)


def test_a_small_check_sum_is_padded_with_zeros() -> None:
    bodies = (f"{count:030d}" for count in range(1_000_000))
    small = next(body for body in bodies if crc32(body.encode()) < 62**5)
    digits = [ALPHABET.index(character) for character in small]
    random = sum(digit * 62**place for place, digit in enumerate(reversed(digits))).to_bytes(32)
    assert make(random)[4:34] == small
    assert make(random)[34] == "0" and is_api_key(make(random))


@given(RANDOM)
def test_what_was_made_is_a_key_and_is_the_random_bytes_written_down(random: bytes) -> None:
    key = make(random)
    assert is_api_key(key)
    assert number(key[4:34]) == int.from_bytes(random) % 62**30
    assert number(key[34:]) == crc32(key[4:34].encode())


@given(RANDOM, st.integers(4, 39), st.sampled_from(ALPHABET))
def test_one_wrong_character_anywhere_is_no_key(random: bytes, place: int, wrong: str) -> None:
    key = make(random)
    typed = key[:place] + wrong + key[place + 1 :]
    assert is_api_key(typed) == (typed == key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fry_",
        make(bytes(32))[:-1],
        make(bytes(32)) + "0",
        make(bytes(32)) + "\n",
        " " + make(bytes(32)),
        make(bytes(32)).replace("fry_", "FRY_"),
        make(bytes(32)).replace("fry_", "ghp_"),
        make(bytes(32)).replace("fry_", "fry_sb_"),
        make(bytes(32), SERVICE_PREFIX).replace("fry_", "", 1),
        make(bytes(32), SERVICE_PREFIX).replace("sa_", "sa_sa_"),
        "fry_" + "é" * 36,
        "fry_" + "٣" * 36,  # digits of another script
    ],
)
def test_everything_else_is_no_key(text: str) -> None:
    assert not is_api_key(text)


def test_the_last_four_characters_may_be_shown() -> None:
    assert last_four(make(bytes(31) + b"\x01")) == make(bytes(31) + b"\x01")[-4:]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_too_little_randomness_makes_no_key(size: int) -> None:
    with pytest.raises(InvalidError, match=f"not {size}"):
        make(bytes(size))
