"""The options that mean the same everywhere (CLI.md), and what a command is handed because of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from cli import distribution, settings
from cli.exits import Run
from cli.render import Terminal
from cli.settings import Settings
from cli.settings.files import KEYS
from registry.errors import RegistryError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command works with: what it was told, and where it speaks."""

    settings: Settings
    terminal: Terminal
    fault: RegistryError | None = None  # why the settings are empty: a command that bears it was asked for


_FLAG: dict[str, Any] = {"is_flag": True, "default": None}


def choices(*words: str) -> dict[str, Any]:
    """What an option or argument that is one of `words` shows and completes; `settings` checks the value."""

    def complete(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
        return [word for word in words if word.startswith(begun)]

    return {"metavar": "|".join(words), "shell_complete": complete}


_COMMON: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "models": (("--models",), {"metavar": "DIR", "help": "The local store [Ollama's own]."}),
    "key": (("--key",), {"metavar": "FILE", "help": "The ed25519 key [~/.ollama/id_ed25519]."}),
    "format": (("--format",), {**choices("text", "json"), "help": "How the result is written."}),
    "progress": (
        ("--progress",),
        {**choices("auto", "bar", "plain", "json", "none"), "help": "On standard error."},
    ),
    "limit_rate": (("--limit-rate",), {"metavar": "20M", "help": "Bytes a second (K, M, G)."}),
    "jobs": (("--jobs",), {"metavar": "N", "help": "Transfers at once."}),
    "give_up_after": (("--give-up-after",), {"metavar": "10m", "help": "Without a byte of progress."}),
    "dry_run": (("--dry-run",), {**_FLAG, "help": "Say what would be done; do nothing."}),
    "plain_http": (("--plain-http",), {**_FLAG, "help": "HTTP instead of HTTPS."}),
    "tls_ca": (("--tls-ca",), {"metavar": "FILE", "help": "Trust this certificate authority."}),
    "insecure_tls": (("--insecure-tls",), {**_FLAG, "help": "Do not check certificates (warns)."}),
    "realms": (
        ("--realm",),
        {"multiple": True, "metavar": "URL", "help": "Another origin that may give a token."},
    ),
    "quiet": (("-q", "--quiet"), {**_FLAG, "help": "Only the result and errors."}),
    "verbose": (("-v", "--verbose"), {**_FLAG, "help": "Say more."}),
    "debug": (("--debug",), {**_FLAG, "help": "Show requests and tracebacks, never secrets."}),
    "data": (("--data",), {"metavar": "DIR", "help": "Its data [~/.local/share/ferry/serve]."}),
    "yes": (("-y", "--yes"), {**_FLAG, "help": "No questions."}),
}
# Options that share a row of a help text, and what is said of them there.
_ROWS: dict[tuple[str, ...], tuple[str, str]] = {
    ("tls_cert", "tls_key"): ("--tls-cert FILE, --tls-key FILE", "Speak HTTPS (PEM files)."),
    ("tags", "exclude", "newest"): ("--tags P, --exclude P, --newest N", "Which of a repository's tags."),
    ("keep_going", "delete_extraneous"): (
        "--keep-going, --delete-extraneous",
        "Past failures; also what is to go.",
    ),
    ("file", "summary"): ("--file SYNC.TOML, --summary FILE", "Many; what was done, as Markdown."),
    ("watch", "metrics"): ("--watch 15m, --metrics-listen H:P", "For ever; numbers for Prometheus."),
    ("private", "public"): ("--private, --public", "Who may read it there, from the start."),
    ("also", "annotations"): ("--also TAG, --annotation K=V", "Further tags; words in its manifest."),
    ("if_absent", "summary"): ("--if-absent, --summary FILE", "Move no tag; a report in Markdown."),
    ("limit_rate", "jobs"): ("--limit-rate 20M, --jobs N", "Bytes a second; transfers at once."),
    ("quiet", "verbose", "debug", "yes"): (
        "--quiet, --verbose, --debug, --yes",
        "Less, more, everything; no questions.",
    ),
}
_LEFT = 36  # characters of a help text's left column

OUTPUT = ("format", "quiet", "verbose", "debug", "yes")
STORE = ("models",)
NETWORK = ("key", "realms", "plain_http", "tls_ca", "insecure_tls")
REMOTE = click.option("--remote", is_flag=True, help="At the registry, not in the local store.")
MOVING = ("limit_rate", "jobs", "give_up_after", "dry_run", "progress")


def command(
    *names: str,
    name: str | None = None,
    goes_on: str = "",
    beside: bool = False,
    bears_faults: bool = False,
) -> Callable[[F], click.Command]:
    """Make a function a command with these options; it is called with an Invocation in their place.

    `bears_faults`: it is called also where the settings cannot be read, with why.
    `beside`: it runs beside the main thread, where no signal can break it. `goes_on`: that too, and the same
    command continues what an interruption stopped, with what this says.
    """

    def decorate(function: F) -> click.Command:
        @functools.wraps(function)
        def work(*arguments: Any, **given: Any) -> object:
            options = {key: given.pop(key) for key in tuple(given) if key in KEYS}
            try:
                invocation = _invocation(options, goes_on)
            except RegistryError as error:
                run = click.get_current_context().find_object(Run)
                if run is None or not bears_faults:
                    raise
                invocation = Invocation(Settings({}, {}), run.terminal, error)
            context = click.get_current_context()
            run = context.find_object(Run)
            if run is None or not (goes_on or beside):
                return function(invocation, *arguments, **given)

            def in_context() -> object:
                with context.scope(cleanup=False):
                    return function(invocation, *arguments, **given)

            return run.signals.beside(in_context, lambda: run.stop())

        for option in reversed((*names, *OUTPUT)):
            flags, attributes = _COMMON[option]
            work = click.option(*flags, option, **attributes)(work)
        return click.command(name or function.__name__, cls=_Command)(work)

    return decorate


class _Command(click.Command):
    """A command whose help fits a screen of 24 lines: its own options first, then those of all commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As ever, but that each usage error says of which command it is: click's parser forgets that."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str | None, tuple[str, str]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None and "--help" not in parameter.opts:
                # Several options may set one parameter, as the forms of ferry show do.
                rows[parameter.opts[0] if parameter.name in rows else parameter.name] = record
        for names, row in _ROWS.items():
            if all(name in rows for name in names):
                rows[names[0]] = row
                for name in names[1:]:
                    del rows[name]
        ordered = sorted(rows, key=lambda name: name in _COMMON)
        with formatter.section("Options"):
            formatter.write_dl([rows[name] for name in ordered], col_max=_LEFT)


def _invocation(options: dict[str, object], goes_on: str) -> Invocation:
    """Resolve the settings, and let the run's ending know what they say."""
    resolved = settings.resolve(options, settings.environment())
    terminal = Terminal(
        sys.stdout,
        sys.stderr,
        json=resolved.json,
        quiet=resolved.on("quiet"),
        no_colour=resolved.no_colour,
        kept=goes_on,
    )
    if about := distribution.former():
        terminal.note(f"ferry: {about}")
    run = click.get_current_context().find_object(Run)
    if run is not None:
        run.terminal, run.debug, run.goes_on = terminal, resolved.on("debug"), goes_on
    return Invocation(resolved, terminal)
