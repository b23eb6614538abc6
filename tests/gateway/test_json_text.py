"""One member of a JSON object changed in its text, every other byte kept."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.gateway.json_text import changed, texts

_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
_SPACES = st.text(" \t\r\n", max_size=2)


def renamed(document: bytes, keys: tuple[str, ...] = ("model",)) -> bytes:
    return changed(document, texts(document, keys), lambda name: name.removesuffix("-cloud"))


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (b'{"model":"a-cloud"}', b'{"model":"a"}'),
        (b' {"x":1 ,\t"model" :\n"a-cloud" } \n', b' {"x":1 ,\t"model" :\n"a" } \n'),
        (b'{"a":{"model":"a-cloud"},"b":[{"model":"a-cloud"}]}', None),
        (b'{"a":"\\"model\\":\\"a-cloud\\"","b":"}{]["}', None),
        (b'{"mod\\u0065l":"a-\\u0063loud"}', b'{"mod\\u0065l":"a"}'),
        (b'{"Model":"a-cloud","model":"b-cloud"}', b'{"Model":"a","model":"b"}'),  # Go reads both
        (b'{"model":"a-cloud","model":"b-cloud"}', b'{"model":"a","model":"b"}'),
        (b'{"model":null,"seed":1e999,"n":-0.0}', None),
        (b'{"model":17}', None),
        (b'{"model":"\\/plain\\/"}', None),  # another spelling of the same text stays as it is
        (b"{}", None),
        (b'{"k":"\xff\xfe","model":"a-cloud"}', b'{"k":"\xff\xfe","model":"a"}'),  # not ours to mend
        (b'{"' + b"k" * 100 + b'":1,"model":"a-cloud"}', b'{"' + b"k" * 100 + b'":1,"model":"a"}'),
    ],
)
def test_only_a_member_of_the_object_itself_changes(document: bytes, wanted: bytes | None) -> None:
    assert renamed(document) == (document if wanted is None else wanted)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'"model"',
        b"null",
        b'{"model":"a"',
        b'{"model":"a',
        b'{"model" "a"}',
        b'{"model":"a",}',
        b'{"model":}',
        b'{"model":"a"} x',
        b'{"model":"a"}{}',
        b'{model:"a"}',
        b'{"a":[1,"b}',
        b'{"a":[{]"model":"x"}',
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"\\x"}',
    ],
)
def test_what_is_no_object_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidError, match="no JSON"):
        renamed(document)


def test_a_name_too_long_to_be_looked_at_is_refused_and_no_other_member() -> None:
    assert renamed(b'{"prompt":"%s","model":"a-cloud"}' % (b"x" * 5000)).endswith(b'"model":"a"}')
    with pytest.raises(InvalidError, match="model in the body has more than 4096 bytes"):
        renamed(b'{"model":"a-cloud","model":"%s"}' % (b"x" * 5000))


@given(st.dictionaries(st.text(max_size=8), _VALUES, max_size=5), st.integers(0, 5), _SPACES, st.booleans())
def test_it_reads_what_any_parser_reads(
    others: dict[str, object], place: int, space: str, ascii_only: bool
) -> None:
    others = {key: value for key, value in others.items() if key.lower() != "model"}
    items = list(others.items())
    items.insert(place, ("model", "gpt-oss:120b-cloud"))
    text = json.dumps(dict(items), ensure_ascii=ascii_only, separators=(f"{space},", f"{space}:{space}"))

    document = renamed(text.encode("utf-8", "surrogatepass"))

    assert document == text.replace("gpt-oss:120b-cloud", "gpt-oss:120b", 1).encode(
        "utf-8", "surrogatepass"
    ) or ("gpt-oss:120b-cloud" in json.dumps(others))
    assert json.loads(document.decode("utf-8", "surrogatepass")) == {**others, "model": "gpt-oss:120b"}


def test_a_large_text_and_deep_lists_cost_little() -> None:
    picture = b'{"images":["' + b"A" * (8 << 20) + b'","' + b'\\"' * (1 << 20) + b'"],"model":"a-cloud"}'
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b',"model":"a-cloud"}'

    began = time.process_time()

    assert renamed(picture) == picture.replace(b"a-cloud", b"a")
    assert renamed(deep) == deep.replace(b"a-cloud", b"a")
    assert time.process_time() - began < 5  # a scanner in steps of a byte takes a minute
