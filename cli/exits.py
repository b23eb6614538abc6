"""How a run ends: its exit code, and what is said when it did not do what was asked."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import click

from cli.groups import meant
from cli.render import Terminal, complain, error_document
from cli.signals import Signals
from registry.errors import INTERRUPTED, TERMINATED, InvalidError, RegistryError, StorageError

KEPT_HERE = "what arrived is kept"
# Debian's registry (2.8) knows no upload any more that ended within a request, although it has the bytes.
KEPT_THERE = "what the registry has kept is not sent again"
BUGS = "this is a bug in Ferry; please report it with this line and what --debug adds"
_LIMITS = "a limit of the shell (ulimit -u, ulimit -v), or of the container or service (tasks, memory),"


@dataclass(slots=True)
class Run:
    """What is known of a run before, and after, its options could be read."""

    terminal: Terminal
    debug: bool = False
    arguments: Sequence[str] = ()
    goes_on: str = ""  # where the same command continues what an interruption stopped: with what
    anew: str = ""  # else what is true of another run
    service: bool = False  # whether SIGTERM is how it ends, with 0
    undraw: Callable[[], bool] = lambda: False  # takes away what is drawn, before the end is spoken of
    stop: Callable[[], bool] = lambda: False  # ends what is under way; whether that is worth waiting for
    signals: Signals = field(default_factory=Signals)


def first_look(arguments: Sequence[str], environ_format: str) -> Run:
    """A run whose options nobody has read yet: what a usage error needs to be told in the right form."""
    words = list(arguments)
    said = environ_format
    for index, word in enumerate(words):
        if word == "--":
            break
        if word == "--format" and index + 1 < len(words):
            said = words[index + 1]
        elif word.startswith("--format="):
            said = word.partition("=")[2]
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())  # closed by the process that started us
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())
    terminal = Terminal(sys.stdout, sys.stderr, json=said == "json", no_colour=True)
    return Run(terminal, debug="--debug" in words, arguments=words)


def of(run: Run, call: Callable[[], object]) -> int:
    """Do it, and say how it went: the exit code."""
    run.signals.watch()
    try:
        code = _of(run, call)
        if run.signals.arrived is not None:  # something on the way caught what was raised for it
            raise KeyboardInterrupt
    except BaseException as error:
        if run.signals.arrived == signal.SIGTERM:
            _leave(run, 0 if run.service else TERMINATED, "told to stop")
        if run.signals.arrived is None and not isinstance(error, KeyboardInterrupt):
            raise
        _leave(run, INTERRUPTED, "interrupted")
    run.signals.leave()
    return code


def _of(run: Run, call: Callable[[], object]) -> int:
    try:
        code = call()
        _flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        return _failed(run, _usage(error))
    except RegistryError as error:
        if run.signals.arrived is not None:
            raise
        return _failed(run, error)
    except click.Abort:
        _leave(run, INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # The reader of our output has enough of it (`ferry list | head`): that is not a failure, and
        # Python must not try to write the rest on its way out.
        os._exit(0)
    except Exception as error:
        if run.signals.arrived is not None:  # what a signal left behind, in the middle of anything
            raise
        return _failed(run, _shortage(error) or _bug(error))


def _flush() -> None:
    """A result that could not be written is a failure, not an afterthought."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"writing to standard output: {error.strerror}") from None


def _failed(run: Run, error: RegistryError) -> int:
    run.undraw()
    if run.debug:
        run.terminal.complain(traceback.format_exc().rstrip())
    told = False
    if run.terminal.json:
        with contextlib.suppress(OSError, StorageError):
            run.terminal.document(error_document(error))
            told = True
    complain(error, run.terminal, short=told)
    try:
        _flush()
    except (OSError, StorageError):
        os._exit(error.exit)  # else Python tries, and fails, to write the rest on its way out
    return error.exit


def _usage(error: click.UsageError) -> InvalidError:
    """Click's complaint in our form: one sentence, and where to read more."""
    command = error.ctx.command_path if error.ctx else "ferry"
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption):
        message = f"no such option {error.option_name}{meant(error.option_name, error.possibilities or ())}"
    where = command.removeprefix("ferry").strip()
    told = f"{message[:1].lower()}{message[1:]}"
    return InvalidError(f"{where}: {told}" if where else told, hint=f"{command} --help shows how")


def _shortage(error: Exception) -> RegistryError | None:
    """What this machine, or a limit that somebody set, has too little of; None for a bug."""
    if isinstance(error, MemoryError):
        return RegistryError("there is no memory left for Ferry", hint=f"{_LIMITS} may be too low")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):  # Python's only name for it
        return RegistryError("Ferry may begin no more threads", hint=f"{_LIMITS} may be too low")
    return None


def _bug(error: Exception) -> RegistryError:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return RegistryError(f"{type(error).__name__} at {place}: {error}", hint=BUGS)


def _leave(run: Run, code: int, why: str) -> NoReturn:
    """Say what is kept and how to go on, and end at once: threads that wait for a peer are not waited for."""
    from cli import helpers

    helpers.end_all()
    command = shlex.join(["ferry", *run.arguments])
    goes_on = f"; {run.goes_on}, and this goes on: {command}" if run.goes_on else run.anew
    if not run.undraw() and run.terminal.err.isatty():
        run.terminal.complain("")  # the terminal has shown ^C there
    run.terminal.complain(f"ferry: {why}{goes_on}")
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)
