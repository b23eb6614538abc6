"""Advice fits its reason, and names only what exists."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path

import click
import pytest
from person import ROOT
from spoken import spoken

from cli.exits import KEPT_HERE
from cli.hints import ADVICE, next_step
from cli.main import app
from cli.render import Terminal, complain
from registry.errors import DeniedError, Reason, StorageError

# Where sentences name commands: the command line, and what servers say to clients of any kind.
ROOMS = ("cli", "registry/server", "registry/gateway")
SPEAKERS = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]

TEMPLATES = sorted((ROOT / "registry/server/pages/templates").glob("*.html"))


def options(command: click.Command) -> set[str]:
    """Every option of a command and of what is below it."""
    context = click.Context(command)
    own = {text for parameter in command.get_params(context) for text in parameter.opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            own |= options(below)
    return own


@cache
def all_options() -> set[str]:
    """Those of the whole command line."""
    return options(app)


def unknown(text: str) -> list[str]:
    """The commands and options that a sentence names and that there are not, or not for that command."""
    wrong = []
    for words, behind in re.findall(r"\bferry ((?:[a-z-]+ ?)+)((?:(?!ferry )[^,;.()\n])*)", text):
        command: click.Command | None = app
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), word)
            if command is None:
                wrong.append(f"ferry {words}")
                break
        if command is not None and command is not app:
            its = options(command)
            named = re.findall(r"(?<![\w-])--[a-z][a-z-]+", f"{words} {behind}")
            wrong += [
                f"ferry {words.partition(' --')[0].strip()} {option}" for option in named if option not in its
            ]
    known = all_options()
    return wrong + [found for found in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text) if found not in known]


def test_advice_is_filled_in_with_what_the_error_names() -> None:
    error = DeniedError("no", reason=Reason.NOT_ALLOWED, host="models.example:5050")
    assert "ferry whoami models.example:5050 shows" in next_step(error)


def test_advice_with_a_gap_is_not_given() -> None:
    assert next_step(DeniedError("no", reason=Reason.NOT_ALLOWED)) == ""
    assert next_step(DeniedError("no", reason=Reason.NOT_ALLOWED, hint="as it is")) == "as it is"


@pytest.mark.parametrize(
    ("kept", "begins"), [(KEPT_HERE, "what arrived is kept: make room"), ("", "make room")]
)
def test_a_full_disk_is_told_with_what_is_kept_only_where_the_command_goes_on(kept: str, begins: str) -> None:
    said = io.StringIO()
    full = StorageError("writing all.tar: the disk is full", reason=Reason.DISK_FULL)
    complain(full, Terminal(io.StringIO(), said, kept=kept), short=False)
    assert said.getvalue().splitlines()[1].startswith(f"  -> {begins}")  # this stream is ASCII


def test_every_reason_has_its_advice() -> None:
    assert ADVICE.keys() == set(Reason) - {Reason.NONE}


@pytest.mark.parametrize("path", SPEAKERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_said_names_only_commands_and_options_that_exist(path: Path) -> None:
    assert [text for text in spoken(path) if unknown(text)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_names_only_commands_and_options_that_exist(path: Path) -> None:
    text = re.sub(r"\bgh api [^\"<]*", "", path.read_text())  # GitHub's own command line
    said = [line for line in text.splitlines() if "ollama pull" not in line]
    assert unknown("\n".join(re.sub(r"</?code>", " ; ", line) for line in said)) == []


def test_an_invented_command_or_option_is_noticed() -> None:
    assert unknown("say ferry frobnicate x, or ferry admin user frob") == [
        "ferry frobnicate x",
        "ferry admin user frob",
    ]
    assert unknown("with --frob") == ["--frob"]
    assert unknown("say ferry list --public-url URL") == ["ferry list --public-url"]
