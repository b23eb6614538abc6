"""What the shell asks: completion, and which Ferry this is."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli import distribution
from cli.options import Invocation, command
from registry.errors import InvalidError

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.option("-y", "--yes", is_flag=True, expose_value=False, help="No questions: there are none.")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete ferry's commands and options.

    \b
      eval "$(ferry completion bash)"
      ferry completion fish > ~/.config/fish/completions/ferry.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise InvalidError(f"there is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "ferry", "_FERRY_COMPLETE").source_template % _names(shell))


def _names(shell: str) -> dict[str, str]:
    """The three names click's templates ask for; its `source` runs the shell for its version."""
    return {
        "complete_func": "_ferry_completion",
        "complete_var": "_FERRY_COMPLETE",
        "prog_name": "ferry",
        "shell": shell,
    }


@command()
def version(invocation: Invocation) -> None:
    """Say which Ferry this is.

    \b
      ferry version
      ferry version --format json
    """
    if invocation.terminal.json:
        invocation.terminal.document(distribution.about())
    else:
        invocation.terminal.line(distribution.line())
