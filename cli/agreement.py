"""What is done only once somebody has agreed to it: with --yes, or by an answer."""

from __future__ import annotations

import click

from cli.options import Invocation
from registry.errors import InvalidError


def agree(invocation: Invocation, told: str, question: str, *, undone: str, hint: str) -> bool:
    """Go on once somebody agreed to what is `told`; whether a person was asked.

    InvalidError without that, saying what was left `undone`; `hint` is for where nobody is there to ask.
    """
    if invocation.settings.on("yes"):
        return False
    if not invocation.terminal.interactive:
        raise InvalidError(f"{told}; {undone}", hint=hint)
    if not click.confirm(f"{told}. {question}", err=True):
        raise InvalidError(undone)
    return True
