"""A run ends with the documented exit code and one sentence, whatever happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from person import FERRY, Ferry

from cli import exits
from cli.main import app
from cli.repairs import BlobOutcome, Verified
from registry.errors import NotFoundError, StorageError, exit_code
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.targets.verify import BlobCheck, BlobState, Held, Inventory


def told(code: str, ferry: Ferry, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with ferry's ending around `code`, which may use `exits` and `run`."""
    program = (
        "import sys\nfrom cli import exits, main\nfrom registry import errors\n"
        f"def call():\n    {code}\n"
        "sys.exit(exits.of(exits.first_look(sys.argv[1:], ''), call))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words], env=ferry.env(), capture_output=True, text=True, timeout=30
    )


def test_an_error_is_a_sentence_and_a_next_step_without_traceback(ferry: Ferry) -> None:
    done = told("raise errors.StorageError('no room\\x1b[2J left', hint='make some')", ferry)
    assert done.returncode == 8
    assert done.stderr == "ferry: no room\\x1b[2J left\n  → make some\n"
    assert done.stdout == ""


def test_an_error_in_json_is_one_document_on_standard_output(ferry: Ferry) -> None:
    done = told("raise errors.DeniedError('no', host='h', name='n')", ferry, "--format", "json")
    assert done.returncode == 4
    said = {"class": "DeniedError", "reason": "", "message": "no", "hint": ""}
    assert ferry_json(done.stdout) == {"error": {**said, "host": "h", "name": "n", "exit": 4}}


def ferry_json(text: str) -> Any:
    import json

    return json.loads(text)


def test_a_bug_is_one_line_that_asks_for_a_report_and_a_traceback_only_with_debug(ferry: Ferry) -> None:
    done = told("return 1 / 0", ferry)
    assert done.returncode == 1
    assert "ZeroDivisionError at <string>:5" in done.stderr
    assert "report" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in told("return 1 / 0", ferry, "--debug").stderr


@pytest.mark.parametrize("what", ["MemoryError()", 'RuntimeError("can\'t start new thread")'])
def test_what_this_machine_has_no_more_of_is_no_bug(ferry: Ferry, what: str) -> None:
    done = told(f"raise {what}", ferry)
    assert done.returncode == 1
    assert "ulimit" in done.stderr
    assert "bug" not in done.stderr


def test_sigterm_ends_with_143_and_ctrl_c_with_130(ferry: Ferry) -> None:
    kill = "import os, signal, time; os.kill(os.getpid(), signal.{}); time.sleep(5)"
    assert told(kill.format("SIGTERM"), ferry).returncode == 143
    stopped = told(kill.format("SIGINT"), ferry)
    assert (stopped.returncode, stopped.stderr) == (130, "ferry: interrupted\n")


@pytest.mark.parametrize(
    "left",
    ["return 0", "raise errors.StorageError('half done')", "return 1 / 0", "raise OSError", "sys.exit(7)"],
)
@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_whatever_a_signal_breaks_ends_with_its_code(ferry: Ferry, left: str, number: str, code: int) -> None:
    """Code that catches everything, or trips over what a signal left half done, does not hide it."""
    done = told(
        "import contextlib, os, signal\n"
        f"    with contextlib.suppress(BaseException): os.kill(os.getpid(), signal.{number})\n"
        f"    {left}",
        ferry,
    )
    why = "told to stop" if number == "SIGTERM" else "interrupted"
    assert (done.returncode, done.stderr) == (code, f"ferry: {why}\n")


def test_a_thread_that_waits_for_a_peer_does_not_delay_ctrl_c(ferry: Ferry) -> None:
    wait = "import threading, time; threading.Thread(target=time.sleep, args=(20,)).start()"
    assert told(f"{wait}; raise KeyboardInterrupt", ferry).returncode == 130


@pytest.mark.parametrize(
    "words",
    [["frobnicate"], ["version", "--frob"], ["version", "extra"], ["completion"], ["completion", "tcsh"], []],
)
def test_wrong_usage_ends_with_2(ferry: Ferry, words: list[str]) -> None:
    done = ferry(*words)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_wrong_usage_is_json_where_json_was_asked_for(ferry: Ferry) -> None:
    for words in (["--format", "json"], ["--format=json"]):
        done = ferry("version", "--frob", *words)
        assert done.code == 2
        assert done.json["error"]["class"] == "InvalidError"
    assert ferry("version", "--frob", FERRY_FORMAT="json").json["error"]["exit"] == 2


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 6, 6], 6),
        ([6, 2], 2),
        ([6, 3, 2], 3),
        ([3, 4, 6], 4),
        ([4, 7], 7),
        ([7, 5, 6], 5),
        ([5, 8, 2], 8),
        ([8, 1], 1),
    ],
)
def test_several_failures_end_with_the_worst_and_with_6_only_if_all_may_pass(
    codes: list[int], code: int
) -> None:
    assert exit_code(codes) == code


@pytest.mark.parametrize(("repaired", "code"), [(False, 8), (True, 0)])
def test_what_this_disk_refused_counts_while_something_is_wrong(repaired: bool, code: int) -> None:
    held = Held(Descriptor("", Digest.of(b""), 0), ())
    found = [BlobOutcome(BlobCheck(held, BlobState.DAMAGED), repaired=repaired)]
    assert Verified(Inventory((), (), (), 1), found, failures=[StorageError("full")]).exit == code


def test_a_mistyped_command_or_option_is_told_the_nearest(ferry: Ferry) -> None:
    assert "ferry: there is no command 'pul'; did you mean pull?\n" in ferry("pul").err
    lacking = ferry("keys", "list", "--host").err
    assert "ferry: keys list: option '--host' requires an argument\n" in lacking
    assert "ferry keys list --help shows how" in lacking
    assert "ferry: admin: there is no command 'usr'; did you mean user?\n" in ferry("admin", "usr").err
    assert (
        "ferry: version: no such option --frmat; did you mean --format?\n" in ferry("version", "--frmat").err
    )
    assert "ferry: admin: there is no command 'gd'; did you mean gc?\n" in ferry("admin", "gd").err
    assert "no such option --foramt; did you mean --format?\n" in ferry("pull", "--foramt", "json").err
    assert "did you mean" not in ferry("frobnicate").err


def test_every_command_takes_yes() -> None:
    def commands(group: click.Group) -> Iterator[click.Command]:
        context = click.Context(group)
        for found in (group.get_command(context, name) for name in group.list_commands(context)):
            assert found is not None
            yield from commands(found) if isinstance(found, click.Group) else [found]

    assert [c.name for c in commands(app) if not any("--yes" in p.opts for p in c.params)] == []


@pytest.mark.parametrize("words", [[], ["admin"], ["admin", "user"], ["admin", "key"]])
def test_a_group_alone_shows_its_help(ferry: Ferry, words: list[str]) -> None:
    done = ferry(*words)
    assert (done.code, done.err) == (2, "")
    assert done.out == ferry(*words, "--help").well().out


def test_an_error_in_json_is_one_line_on_standard_error_too(ferry: Ferry) -> None:
    done = ferry("show", "no-such-model", "--format", "json", "--quiet")
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"ferry: {done.json['error']['message']}")
    assert done.json["error"]["hint"] in done.err
    several = ferry("rm", "one", "two", "--format", "json")
    assert [line.split()[1] for line in several.err.splitlines()] == ["one:latest", "two:latest"]


def test_settings_that_ask_for_json_get_errors_as_json(ferry: Ferry) -> None:
    ferry.settings('format = "json"')
    assert ferry("show", "no-such-model").json["error"]["class"] == NotFoundError.__name__


def test_a_full_disk_behind_standard_output_is_said(ferry: Ferry) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*FERRY, "version", "--format", "json"],
            env=ferry.env(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 8
    assert "writing to standard output: No space left on device" in done.stderr


def test_a_reader_that_has_enough_is_no_failure(ferry: Ferry) -> None:
    process = ferry.start("version")
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(ferry: Ferry, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m cli version {closed}"],
        env=ferry.env(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_asked_for_is_not_imported_and_nothing_is_searched_at_the_end(
    ferry: Ferry,
) -> None:
    frozen = "'frozen' if gc.get_freeze_count() else 'searched'"
    program = (
        "import gc, sys\nfrom cli import main\n"
        f"try: main.main(['version'])\nfinally: print(*sys.modules, {frozen})"
    )
    done = subprocess.run([sys.executable, "-c", program], env=ferry.env(), capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert done.stdout.split()[-1] == "frozen"
    assert "cli.commands.shell" in loaded
    assert {name for name in loaded if name.startswith("cli.commands.")} == {"cli.commands.shell"}


def test_the_ending_looks_for_json_only_before_two_dashes() -> None:
    assert exits.first_look(["x", "--format", "json"], "").terminal.json
    assert not exits.first_look(["x", "--", "--format", "json"], "").terminal.json


# --- completion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(ferry: Ferry, shell: str) -> None:
    done = ferry("completion", shell).well()
    assert f"_FERRY_COMPLETE={shell}_complete" in done.out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ferry pull --progress ", {"auto", "bar", "plain", "json", "none"}),
        ("ferry list --format j", {"json"}),
        ("ferry serve --anonymous ", {"none", "read", "write"}),
        ("ferry admin grant ada acme ", {"read", "write", "owner", "none"}),
        ("ferry admin grant ", {"list"}),
        ("ferry admin grant ada ", set()),
        ("ferry admin visibility acme/tiny p", {"private", "public"}),
        ("ferry admin us", {"user"}),
    ],
)
def test_choices_complete(ferry: Ferry, words: str, found: set[str]) -> None:
    count = str(len(words.split()) - (not words.endswith(" ")))
    done = ferry(_FERRY_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert {line.partition(",")[2] for line in done.out.split()} == found


def test_completion_completes(ferry: Ferry) -> None:
    done = ferry(_FERRY_COMPLETE="bash_complete", COMP_WORDS="ferry vers", COMP_CWORD="1")
    assert done.out.strip() == "plain,version"
