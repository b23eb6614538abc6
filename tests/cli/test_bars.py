"""Bars show what is true, fit their window, and go away when a run ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from typing import cast

import pytest
from window import Window

from cli.bars import Bars
from cli.render import Terminal, shortened
from cli.screen import Block
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.transfer.progress import Report

NAME = Name.parse("models.acme.example/acme/llama-of-a-long-name:70b-q4")
BLOBS = [Descriptor(f"x.{n}", Digest.of(n.encode()), 10_000_000) for n in ("model", "adapter", "license")]
EMPTY = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
REPORT = Report(NAME, Manifest.parse(EMPTY), 1.0, ())


class Drawn:
    """Bars in a window, with a clock that is told what time it is."""

    def __init__(self, columns: int = 80, rows: int = 24, models: int = 1) -> None:
        self.now = 100.0
        self.window = Window(columns, rows)
        block = Block(self.window, lambda: self.window.size)
        self.bars = Bars(Terminal(self.window, self.window), models, lambda: self.now, block)
        self.window.write("$ ferry pull\n")

    def begin(self, blobs: list[Descriptor] = BLOBS, name: Name = NAME) -> None:
        self.bars.begin(name, blobs)

    def at(self, blob: Descriptor, done: int, seconds: float = 1.0) -> list[str]:
        """What is seen `seconds` later, when so much of the blob is there."""
        self.now += seconds
        self.bars.at(NAME, blob, done)
        return self.seen

    @property
    def seen(self) -> list[str]:
        return self.window.seen


def test_a_name_keeps_its_end_with_its_tag() -> None:
    drawn = Drawn()
    drawn.begin()
    assert drawn.seen[1].startswith("…ama-of-a-long-name:70b-q4 ")
    assert shortened("tiny:1.0", 26, "…") == "tiny:1.0"


def test_what_was_kept_is_no_speed() -> None:
    drawn = Drawn()
    drawn.begin(BLOBS[:1])
    seen = drawn.at(BLOBS[0], 6_000_000)
    assert " 60% " in seen[1] and seen[1].endswith("6.0 MB/10.0 MB"), seen
    seen = drawn.at(BLOBS[0], 7_000_000, seconds=1.0)
    assert seen[1].endswith("7.0 MB/10.0 MB 500 KB/s 0:06"), seen


def test_a_server_that_says_nothing_is_waited_for_and_has_no_speed() -> None:
    drawn = Drawn()
    drawn.begin(BLOBS[:1])
    drawn.at(BLOBS[0], 0)
    assert drawn.at(BLOBS[0], 5_000_000)[1].endswith("/s 0:02")
    drawn.now += 3.5
    drawn.bars.note("a look")
    assert drawn.seen[-1].endswith("5.0 MB/10.0 MB waiting")


def test_one_blob_has_one_bar_and_several_have_one_each_below_the_whole() -> None:
    drawn = Drawn()
    drawn.begin()
    assert len(drawn.at(BLOBS[0], 10)) == 2
    seen = drawn.at(BLOBS[1], 5_000_000)
    assert [line.split()[0] for line in seen[2:]] == [blob.digest.short for blob in BLOBS[:2]]
    assert "model" in seen[2] and " 50% " in seen[3]
    drawn.now += 1
    drawn.bars.done(NAME, BLOBS[0], How.FETCHED)
    assert len(drawn.seen) == 2


def test_several_models_say_which_of_how_many_this_is() -> None:
    drawn = Drawn(models=12)
    drawn.begin()
    drawn.bars.end(REPORT)
    drawn.begin()
    assert drawn.seen[1].startswith("1/12 …") and drawn.seen[2].startswith("2/12 …")
    assert drawn.seen[2][:26].endswith("me:70b-q4")


def test_a_label_of_a_peer_cannot_paint_the_terminal() -> None:
    drawn = Drawn()
    bad = [Descriptor("x.\x1b[31mred", Digest.of(bytes([n])), 10_000_000) for n in range(2)]
    drawn.begin(bad)
    for blob in bad:
        drawn.at(blob, 5)
    assert "\\x1b[31mred" in drawn.seen[2]


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [(60, "7.0 MB/10.0 MB 500 KB/s 0:06"), (42, "7.0 MB/10.0 MB"), (30, "70%")],
)
def test_a_narrow_window_shows_no_half_of_a_number(columns: int, numbers: str) -> None:
    drawn = Drawn(columns=columns)
    drawn.begin(BLOBS[:1])
    drawn.at(BLOBS[0], 6_000_000)
    seen = drawn.at(BLOBS[0], 7_000_000)
    assert seen[1].rstrip(" █▏▎▍▌▋▊▉").endswith(numbers), seen
    assert seen[1].startswith("…") and ":70b-q4 " in seen[1]


@pytest.mark.parametrize("columns", [79, 60, 41, 300])
def test_a_window_that_is_resized_keeps_no_shards(columns: int) -> None:
    drawn = Drawn(columns=120)
    drawn.begin()
    for blob in BLOBS:
        drawn.at(blob, 1000)
    drawn.window.resize(columns)
    seen = drawn.at(BLOBS[0], 2_000_000)
    assert len(seen) == 1 + 1 + len(BLOBS), seen
    assert seen[0] == "$ ferry pull"
    drawn.bars.close()
    assert drawn.seen == ["$ ferry pull", ""]


def test_a_low_window_shows_the_whole_first() -> None:
    drawn = Drawn(rows=3)
    drawn.begin()
    for blob in BLOBS:
        seen = drawn.at(blob, 5)
    assert len(seen) == 3 and "70b-q4" in seen[1]


def test_the_label_of_the_whole_cannot_paint_the_terminal_either() -> None:
    drawn = Drawn()
    drawn.begin(name=cast(Name, "tiny\x1b[31m:1.0"))
    drawn.at(BLOBS[0], 10)
    assert "tiny\\x1b[31m:1.0" in drawn.seen[1]


def test_notes_stay_above_and_the_whole_bar_stays_when_the_model_is_there() -> None:
    drawn = Drawn()
    drawn.begin()
    drawn.at(BLOBS[0], 10)
    drawn.bars.note("trying again \x1b[31m")
    for blob in BLOBS:
        drawn.bars.done(NAME, blob, How.FETCHED)
    drawn.bars.end(REPORT)
    assert [line.split(" ")[0] for line in drawn.seen] == ["$", "ferry:", "…ama-of-a-long-name:70b-q4", ""]
    assert "\\x1b[31m" in drawn.seen[1] and " 100% " in drawn.seen[2]


def test_after_the_end_nothing_is_drawn_any_more() -> None:
    drawn = Drawn()
    drawn.begin()
    drawn.at(BLOBS[0], 10)
    assert drawn.bars.close()
    assert not drawn.bars.close()
    drawn.at(BLOBS[0], 1000)
    assert drawn.seen == ["$ ferry pull", ""]


# --- in a real terminal ----------------------------------------------------------------------------------

PROGRAM = """
import sys, time
from cli.bars import Bars
from cli.render import Terminal
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
blobs = [Descriptor("x.model", Digest.of(bytes([n])), 10_000_000) for n in range(8)]
bars = Bars(Terminal(sys.stdout, sys.stderr))
NAME = Name.parse("tiny")
bars.begin(NAME, blobs)
bars.at(NAME, blobs[0], 5_000_000)
for step in (5, *range(5, 11)):
    time.sleep(0.12)
    for blob in blobs:
        bars.at(NAME, blob, step * 1_000_000)
bars.note("a note")
for blob in blobs:
    bars.done(NAME, blob, How.FETCHED)
bars.end(None)
"""

STOPPED = """
import sys, time
from cli import exits
from cli.bars import Bars
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
run = exits.first_look(["pull", "tiny"], "")
def pull():
    bars = Bars(run.terminal)
    run.undraw = bars.close
    blob = Descriptor("x.model", Digest.of(b"x"), 10_000_000)
    NAME = Name.parse("tiny")
    bars.begin(NAME, [blob])
    bars.at(NAME, blob, 5)
    print("READY", end="", flush=True)
    time.sleep(20)
exits.of(run, pull)
"""


def in_terminal(program: str, size: tuple[int, int], interrupt: bool = False) -> tuple[int, str]:
    """How a Python program ends in a terminal of so many lines and columns, and what that was sent."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, size)
    env = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=follower, stderr=follower, env=env)
    os.close(follower)
    chunks: list[bytes] = []
    sent: list[int] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                return
            if not chunk:
                return
            chunks.append(chunk)
            if interrupt and not sent and b"READY" in b"".join(chunks):
                process.send_signal(signal.SIGINT)
                sent.append(signal.SIGINT)

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(30)
    reader.join(10)
    os.close(leader)
    return code, b"".join(chunks).decode()


@pytest.mark.parametrize("size", [(24, 100), (0, 0), (0, 100), (24, 0)])
def test_a_terminal_sees_bars_that_begin_with_what_was_there_and_only_grow(size: tuple[int, int]) -> None:
    code, text = in_terminal(PROGRAM, size)
    assert code == 0
    whole = [int(found) for found in re.findall(r"tiny:latest +(\d+)%", text)]
    assert whole == sorted(whole)
    assert whole[-1] == 100
    first = re.search(r"  [0-9a-f]{12} model +(\d+)%", text)
    assert first is not None
    assert first[1] == "50"
    assert "a note" in text


def test_ctrl_c_takes_the_bars_away_before_anything_is_said() -> None:
    code, text = in_terminal(STOPPED, (24, 80), interrupt=True)
    assert code == 130
    window = Window()
    window.write(text.replace("READY", ""))
    assert window.seen == ["ferry: interrupted", ""]
