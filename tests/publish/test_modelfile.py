"""Ollama's Modelfile grammar, as its client reads it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.publish import parameters
from registry.publish.modelfile import Modelfile


def read(text: str | bytes) -> list[tuple[str, ...]]:
    found = Modelfile.parse(text.encode() if isinstance(text, str) else text).instructions
    return [(each.name, *filter(None, [each.about]), each.value) for each in found]


READ = {
    "from": ("FROM ./a.gguf", ("FROM", "./a.gguf")),
    "lower case": ("from a", ("FROM", "a")),
    "mixed case": ("SyStEm a", ("SYSTEM", "a")),
    "tab": ("SYSTEM\ta", ("SYSTEM", "a")),
    "many spaces": ("SYSTEM  \t a  ", ("SYSTEM", "a")),
    "trimmed": ("SYSTEM a b \t", ("SYSTEM", "a b")),
    "hash in a value": ("SYSTEM a # b", ("SYSTEM", "a # b")),
    "quoted": ('SYSTEM "a b"', ("SYSTEM", "a b")),
    "quoted keeps its spaces": ('SYSTEM " a "', ("SYSTEM", " a ")),
    "quotes within": ('SYSTEM say "x"', ("SYSTEM", 'say "x"')),
    "quoted over lines": ('SYSTEM "a\nb"', ("SYSTEM", "a\nb")),
    "quoted goes on": ('SYSTEM "a" b\nc"', ("SYSTEM", 'a" b\nc')),
    "triple": ('SYSTEM """a"""', ("SYSTEM", "a")),
    "triple over lines": ('SYSTEM """\na\n\nb\n"""', ("SYSTEM", "\na\n\nb\n")),
    "triple goes on behind a tail": ('SYSTEM """abc""" tail\nmore"""', ("SYSTEM", 'abc""" tail\nmore')),
    "triple keeps CRLF": ('SYSTEM """a\r\nb"""', ("SYSTEM", "a\r\nb")),
    "triple with instructions inside": ('SYSTEM """\nFROM x\n# y\n"""', ("SYSTEM", "\nFROM x\n# y\n")),
    "empty triple": ('SYSTEM """"""', ("SYSTEM", "")),
    "empty quoted": ('SYSTEM ""', ("SYSTEM", "")),
    "single quotes are none": ("SYSTEM 'a'", ("SYSTEM", "'a'")),
    "no escapes": ('SYSTEM "a\\"', ("SYSTEM", "a\\")),
    "no continuation": ("SYSTEM a\\", ("SYSTEM", "a\\")),
    "CR ends": ("SYSTEM a\rSYSTEM b", ("SYSTEM", "a"), ("SYSTEM", "b")),
    "CRLF ends": ("SYSTEM a\r\nSYSTEM b\r\n", ("SYSTEM", "a"), ("SYSTEM", "b")),
    "comment": ("# x\n  # y\nSYSTEM a", ("SYSTEM", "a")),
    "indented": ("   SYSTEM a", ("SYSTEM", "a")),
    "blank lines": ("\n\n\t\nSYSTEM a\n\n", ("SYSTEM", "a")),
    "nothing": ("",),
    "only comments": ("# a\n#b",),
    "parameter": ("PARAMETER top_k 7", ("PARAMETER", "top_k", "7")),
    "parameter quoted": ('PARAMETER stop "a b"', ("PARAMETER", "stop", "a b")),
    "parameter system": ("PARAMETER system x", ("SYSTEM", "x")),
    "parameter template": ("PARAMETER template x", ("TEMPLATE", "x")),
    "message": ("MESSAGE user hi there", ("MESSAGE", "user", "hi there")),
    "message over lines": ('MESSAGE assistant """a\nb"""', ("MESSAGE", "assistant", "a\nb")),
    "utf-8 mark": (b"\xef\xbb\xbfSYSTEM a", ("SYSTEM", "a")),
    "utf-16 little": ("\ufeffSYSTEM ü".encode("utf-16-le"), ("SYSTEM", "ü")),
    "utf-16 big": ("\ufeffSYSTEM ü".encode("utf-16-be"), ("SYSTEM", "ü")),
    "no-break space drops": ("SYSTEM a\u00a0b", ("SYSTEM", "ab")),
    "joiner drops inside quotes": ('SYSTEM "a\u200db"', ("SYSTEM", "ab")),
    "ideographic space drops": ("SYSTEM a\u3000b", ("SYSTEM", "ab")),
    "soft hyphen drops": ("SYSTEM a\u00adb", ("SYSTEM", "ab")),
    "line separator drops": ("SYSTEM a\u2028b", ("SYSTEM", "ab")),
    "letters stay": ("SYSTEM größe 漢字 ½ €", ("SYSTEM", "größe 漢字 ½ €")),
}


@pytest.mark.parametrize("case", READ)
def test_it_is_read_as_ollama_reads_it(case: str) -> None:
    text, *expected = READ[case]
    assert read(text) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SYSTEM", "line 1: SYSTEM needs a value"),
        ("FROM a\nSYSTEM\nx", "line 2: SYSTEM needs a value"),
        ("FORM a", "line 1: 'FORM' is no instruction"),
        ("a", "is no instruction"),
        ("FROM a\r\n\r\n=x", "line 3: '=' is no instruction"),
        ("FROM:a", "needs a value"),
        ("PARAMETER", "needs a value"),
        ("PARAMETER top_k", "needs a value"),
        ("PARAMETER -x 1", "needs a value"),
        ("MESSAGE robot hi", "line 1: 'robot' is not one of system, user, assistant"),
        ("MESSAGE User hi", "'User' is not one of"),
        ("MESSAGE user", "needs a value"),
        ('SYSTEM "a', "quote is opened and never closed"),
        ('SYSTEM """a"" ', "quote is opened and never closed"),
        ('FROM a\nSYSTEM """\nb\n', "line 2: a quote is opened"),
        ('SYSTEM """"', "never closed"),
        (b"SYSTEM \xff", "not UTF-8 text at byte 7"),
        (b"\xff\xfea", "not UTF-16-LE text"),
    ],
)
def test_what_cannot_be_read_names_its_line(text: str | bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        read(text)


PRINTS = st.text(st.characters(categories=("L", "M", "N", "P", "S"), include_characters=" \t\n")).filter(
    lambda text: '"' not in text
)


@given(st.lists(st.tuples(st.sampled_from(["SYSTEM", "TEMPLATE", "LICENSE"]), PRINTS)))
def test_what_is_quoted_comes_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    text = "\n".join(f'{name} """{value}"""' for name, value in pairs)
    assert read(text) == pairs


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except InvalidError:
        return
    assert all(row[0].isupper() for row in found)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"MESSAGE user question {at}\n" for at in range(100)),
        "".join(f"MESSAGE user question {at}\r\n\r\n# and so on\r\n" for at in range(100)),
        "".join(f'MESSAGE user """question {at}\n"""\n' for at in range(100)),
        'LICENSE """' + "a line\n" * 100 + '"""\n',
        'LICENSE "' + 'a "quoted" line\n' * 100 + '"\n',
        'LICENSE """' + '"' * 600 + " " * 600 + 'x\nend"""\n',
        "PARAMETER stop x\n" * 100,
        "#" * 1000 + "\n" + " " * 1000,
    ],
    ids=lambda text: text[:12].strip(),
)
def test_a_long_one_is_read_in_time_that_grows_with_its_length(text: str) -> None:
    """8,000 MESSAGE lines took 15 s: each looked at all before it."""
    long, short = text * 40, text * 4

    def seconds(text: str) -> float:
        began = time.process_time()
        parameters.parse((each.about, each.value) for each in Modelfile.parse(text.encode()).all("PARAMETER"))
        return time.process_time() - began

    seconds(short)
    assert min(seconds(long) for _ in range(3)) < 30 * max(min(seconds(short) for _ in range(5)), 0.0005)
