"""Parameters: which there are, what they may be, and the JSON that Ollama writes for them."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.publish.parameters import parse, written


def json_of(name: str, *texts: str) -> str:
    return written(parse((name, text) for text in texts)[0]).decode()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "1.0", "1"),
        ("temperature", "0.30000001", "0.3"),
        ("temperature", "1e-9", "1e-9"),
        ("temperature", "1e21", "1e+21"),
        ("temperature", "1e20", "100000000000000000000"),
        ("temperature", "0.000001", "0.000001"),
        ("temperature", "0.0000001", "1e-7"),
        ("temperature", "-0", "-0"),
        ("temperature", ".5", "0.5"),
        ("temperature", "5.", "5"),
        ("temperature", "0.7", "0.7"),
        ("temperature", "1e-60", "0"),
        ("top_p", "16777217", "16777216"),
        ("min_p", "3.4028234e38", "3.4028235e+38"),
        ("top_k", "007", "7"),
        ("top_k", "-0", "0"),
        ("top_k", "+5", "5"),
        ("num_predict", "-1", "-1"),
        ("seed", "9007199254740993", "9007199254740992"),
        ("seed", "9223372036854775807", "9223372036854775807".replace("5807", "6000")),
        ("use_mmap", "t", "true"),
        ("use_mmap", "0", "false"),
        ("stop", "<|end|> & \u2028", '["\\u003c|end|\\u003e \\u0026 \\u2028"]'),
        ("stop", 'say "x"\\', '["say \\"x\\"\\\\"]'),
        ("stop", "größe", '["größe"]'),
    ],
)
def test_a_value_is_written_as_ollama_writes_it(name: str, text: str, value: str) -> None:
    assert json_of(name, text) == f'{{"{name}":{value}}}\n'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Top_k", "1", "no parameter 'Top_k'"),
        ("nonsense", "1", "no parameter"),
        ("top_k", "1.0", "not a whole number"),
        ("top_k", "", "not a whole number"),
        ("top_k", "1_000", "not a whole number"),
        ("top_k", "٣", "not a whole number"),
        ("seed", "9223372036854775808", "not a whole number"),
        ("temperature", "warm", "not a number"),
        ("temperature", "inf", "not a number"),
        ("temperature", "nan", "not a number"),
        ("temperature", "1e39", "too large"),
        ("temperature", "1e9999", "too large"),
        ("temperature", "0x1", "not a number"),
        ("use_mmap", "yes", "neither true nor false"),
    ],
)
def test_what_is_none_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        parse([(name, text)])


def test_the_last_value_counts_and_lists_add_up() -> None:
    pairs = [("top_k", "1"), ("stop", "a"), ("top_k", "2"), ("stop", "b")]
    assert parse(pairs) == ({"top_k": 2.0, "stop": ["a", "b"]}, [])


@pytest.mark.parametrize("name", ["mirostat", "use_mlock", "f16_kv", "penalize_newline"])
def test_what_means_nothing_any_more_is_dropped_with_a_warning(name: str) -> None:
    parameters, warnings = parse([(name, "whatever")])
    assert parameters == {}
    assert name in warnings[0]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_means_the_same_32_bits_when_it_is_read_back(value: float) -> None:
    back = json.loads(json_of("temperature", f"{value:.17g}"), parse_int=float)["temperature"]
    assert struct.pack("<f", back) == struct.pack("<f", value)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**53), 2**53), lambda inner: (
    st.lists(inner) | st.dictionaries(st.text(), inner)
)))  # fmt: skip
def test_what_is_written_is_json_that_a_page_may_carry(value: object) -> None:
    text = written(value).decode("utf-8", "surrogatepass")
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
