"""What `ferry mirror` refuses before anything is asked: files with mistakes, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from person import Ferry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[mirror]]\nsource = 'a/b'\n", "sync.toml:1: mirror: has no destination"),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\n\ntag=['x']\n",
            "sync.toml:5: mirror.tag: no such key",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\n[[mirror]]\nsource='x/y'\n"
            "destination='c.example/b'\nnewest=0\n",
            "sync.toml:7: mirror.newest: must be between 1",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/{model}'\n",
            "sync.toml:3: mirror.destination: may have",
        ),
        (
            "[[mirror]]\nsource='a.example/b/c:1'\ndestination='c.example/b'\nnewest=1\n",
            "sync.toml:2: a.example/b/c:1 is one name; filters choose",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\ntags=[]\n",
            "sync.toml:4: mirror.tags: must name at least one pattern",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\n# who\n[mirror.extra]\nuser='me'\n",
            "sync.toml:5: mirror.extra: no such key",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\ntags=[\n 'extra = 1',\n]\n"
            "[[mirror]]\nsource='x/y'\ndestination='c.example/b'\nextra.user='me'\n",
            "sync.toml:10: mirror.extra: no such key",
        ),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\n[accounts.\"a b\"]\nuser='me'\n",
            "sync.toml:4: accounts: no such key",
        ),
        ("limit='1M'\n[[mirror]]\n", "sync.toml:1: limit: no such key"),
        ("[mirror]\nsource='a/b'\n", "sync.toml:1: mirror: must be tables"),
        ("[[mirror]\n", "sync.toml:1: not TOML"),
        ("", "there is nothing to mirror"),
        ("\ufefflimit='1M'\n", "sync.toml:1: limit: no such key"),  # as editors of Windows begin a file
        ("[[mirror]]\nsource='a/b'\ndestination='c.example'\n", "sync.toml:2: c.example is a host"),
        ("[[mirror]]\nsource='a/b'\ndestination='c/b'\n", "sync.toml:2: c/b names no host"),
        (
            "[[mirror]]\nsource='a/b'\ndestination='c.example/b'\nreferrers='some'\n",
            "sync.toml:4: mirror.referrers",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(
    text: str, said: str, ferry: Ferry, tmp_path: Path
) -> None:
    (tmp_path / "sync.toml").write_text(text)

    done = ferry("mirror", "--file", tmp_path / "sync.toml")

    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs SOURCE and DESTINATION"),
        (("a.example/b",), "needs SOURCE and DESTINATION"),
        (("a.example/b/c:1", "d.example/b", "--tags", "*"), "is one name"),
        (("a.example/b", "d.example/b", "--file", "x.toml"), "stand in it"),
        (("a.example/b", "d.example/b", "--newest", "none"), "--newest: must be a whole number"),
        (("a.example/b", "d.example/b", "--metrics-listen", "127.0.0.1:1"), "goes on: --watch"),
        (("a.example/b", "d.example/b", "--watch", "soon"), "--watch: must be a time"),
        (("a.example/b", "d.example/b", "--watch", "1h", "--delete-extraneous"), "asks nobody"),
        (("a.example/b/c", "d.example/{tag}", "--tags", "*", "--delete-extraneous"), "cannot tell"),
        (("a.example/b/c", "d.example/b", "--watch", "5m", "--summary", "s.md"), "of a mirror that ends"),
        (("a.example/b/c", "d.example/b", "--delete-extraneous"), "is one name; --delete-extraneous is for"),
        (("localhost:1", "d.example/b", "--tags", "*"), "is a host"),
        (("--file", "/nowhere/sync.toml"), "there is no file /nowhere/sync.toml"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    words: tuple[str, ...], said: str, ferry: Ferry
) -> None:
    done = ferry("mirror", *words)

    assert done.code == 2
    assert said in done.err
