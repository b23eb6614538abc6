"""What is wrong on the way to a host or a model: each hop, what was seen there, and the next step."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from cli.hints import next_step
from cli.options import NETWORK, STORE, Invocation, command
from cli.render import Terminal, visible

if TYPE_CHECKING:
    from registry.diagnose.findings import Finding

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}
_COLUMN, _WIDTH = 13, 79  # where the text of a line begins, and where it ends


@command(*STORE, *NETWORK, beside=True, bears_faults=True)
@click.argument("place", metavar="[HOST|NAME]", required=False)
@click.option("--push", is_flag=True, help="Try to push there too: some bytes, taken back.")
def doctor(invocation: Invocation, place: str | None, push: bool) -> int:
    """Name what fails on the way to a host or a model, and what to do.

    \b
      ferry doctor models.acme.example
      ferry doctor models.acme.example/acme/tiny:1.0 --push
    """
    from cli.examination import findings

    rows = []
    failures = []
    for finding in findings(invocation, place, push):
        step = next_step(finding.error, finding.hop) if finding.error else ""
        rows.append({"hop": finding.hop, "state": str(finding.state), "seen": finding.seen, "next": step})
        if finding.state == "failed" and finding.error is not None:
            failures.append(finding.error.exit)
        if not invocation.terminal.json:
            _show(invocation.terminal, finding, step)
    if invocation.terminal.json:
        invocation.terminal.document(rows)
    return failures[0] if failures else 0


def _show(terminal: Terminal, finding: Finding, step: str) -> None:
    """A line or more of a finding, at once: the next hop may take its time."""
    mark, colour = _MARKS[finding.state]
    first, *more = _wrapped(finding.seen)
    terminal.say(f"{terminal.paint(mark, colour)} {finding.hop:<{_COLUMN - 2}}{first}")
    for line in more:
        terminal.say(f"{'':{_COLUMN}}{line}")
    for index, line in enumerate(_wrapped(f"→ {step}") if step else ()):
        terminal.say(f"{'':{_COLUMN + (2 if index else 0)}}{line}")


def _wrapped(text: str) -> list[str]:
    """Lines that fit; what is one word stays whole, to be copied."""
    width = _WIDTH - _COLUMN - 2
    return textwrap.wrap(visible(text), width, break_long_words=False, break_on_hyphens=False) or [""]
