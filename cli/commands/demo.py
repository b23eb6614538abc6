"""Everything on this machine: a private model is published, refused to strangers, pulled and proven."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from cli import demo_steps, extra
from cli.demo_sandbox import Sandbox
from cli.exits import Run
from cli.options import Invocation, command
from cli.render import visible
from cli.signals import Signals
from registry.errors import RegistryError

_WIDTH = 70  # characters of a line behind its mark


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one step."""

    title: str
    commands: tuple[str, ...]
    says: str
    ok: bool
    seconds: float


@command(beside=True)
@click.option("--keep", is_flag=True, help="Leave the directory, and say how to go on.")
def demo(invocation: Invocation, keep: bool) -> int:
    """Show all of it on this machine, in under a minute; cleans up after itself.

    \b
      ferry demo
      ferry demo --keep
    """
    extra.need_server("ferry demo")
    began = time.monotonic()
    sandbox = _sandbox(keep)
    try:
        sandbox.make_directory()
        _introduce(invocation, sandbox.folder)
        steps = _play(invocation, sandbox)
    finally:
        sandbox.close()
    ok = len(steps) == len(demo_steps.STEPS) and all(step.ok for step in steps)
    _close(invocation, sandbox, steps, keep, ok, time.monotonic() - began)
    return 0 if ok else RegistryError.exit


def _sandbox(keep: bool) -> Sandbox:
    """A sandbox that a signal closes."""
    run = click.get_current_context().find_object(Run)
    sandbox = Sandbox(keep, run.signals if run else Signals())

    def end() -> bool:
        sandbox.close()
        return False

    if run is not None:
        run.stop = end
    return sandbox


def _play(invocation: Invocation, sandbox: Sandbox) -> list[_Told]:
    """Every step in order, up to the first that does not do what it says."""
    told: list[_Told] = []
    for number, (title, step) in enumerate(demo_steps.STEPS, 1):
        told.append(_step(sandbox, title, step))
        _show(invocation, number, told[-1])
        if not told[-1].ok:
            break
    return told


def _step(sandbox: Sandbox, title: str, step: Callable[[Sandbox], str]) -> _Told:
    sandbox.typed.clear()
    began = time.monotonic()
    ok = True
    try:
        says = step(sandbox)
    except RegistryError as error:
        says, ok = error.message, False
    return _Told(title, tuple(sandbox.typed), says, ok, round(time.monotonic() - began, 3))


# --- what is seen ----------------------------------------------------------------------------------------


def _introduce(invocation: Invocation, folder: Path) -> None:
    if not invocation.terminal.json:
        invocation.terminal.line(f"Ferry on this machine alone, in {folder}:")
        invocation.terminal.line("a private model is published, refused to strangers, pulled and proven.")


def _show(invocation: Invocation, number: int, step: _Told) -> None:
    terminal = invocation.terminal
    if terminal.json:
        return
    terminal.line()
    terminal.line(f"{number:>2}  {terminal.paint(step.title, 'bold')}")
    for typed in step.commands:
        terminal.line(f"      {terminal.paint(typed, 'dim')}")
    mark = terminal.paint("✓", "green") if step.ok else terminal.paint("✗", "red")
    parts = [
        part
        for line in step.says.splitlines()
        for part in textwrap.wrap(visible(line), _WIDTH, subsequent_indent="  ")
    ]
    for before, part in zip((f"    {mark} ", *["      "] * len(parts)), parts, strict=False):
        terminal.line(f"{before}{part}")
    terminal.out.flush()


def _close(
    invocation: Invocation, sandbox: Sandbox, steps: list[_Told], keep: bool, ok: bool, seconds: float
) -> None:
    folder = str(sandbox.folder)
    if invocation.terminal.json:
        invocation.terminal.document(
            {
                "ok": ok,
                "seconds": round(seconds, 3),
                "directory": folder if keep else None,
                "steps": [
                    {
                        "title": step.title,
                        "commands": list(step.commands),
                        "says": step.says,
                        "ok": step.ok,
                        "seconds": step.seconds,
                    }
                    for step in steps
                ],
            }
        )
        return
    invocation.terminal.line()
    done = sum(step.ok for step in steps)
    invocation.terminal.line(
        f"{done} of {len(demo_steps.STEPS)} steps did what they say, in {seconds:.1f} s."
    )
    if keep:
        _go_on(invocation, sandbox)


def _go_on(invocation: Invocation, sandbox: Sandbox) -> None:
    """What a person types to play on in the directory that was kept."""
    for line in (
        "",
        f"Everything is still in {sandbox.folder}. To go on, start the registry again:",
        f"  cd {sandbox.folder}",
        f"  ferry serve --data registry --listen {sandbox.host}",
        "and, in another terminal there, be Ada or Ben:",
        f"  HOME=$PWD/ada ferry list {sandbox.host}",
        f"  HOME=$PWD/ben ferry pull {sandbox.name(demo_steps.MODEL)}",
        "  ferry admin user list --data registry",
        f"It is yours to remove: rm -r {sandbox.folder}",
    ):
        invocation.terminal.line(line)
