"""The command line: a table of commands, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli import distribution, ending, settings

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Models": {
        "pull": ("cli.commands.transfer:pull", "fetch models into the local store"),
        "push": ("cli.commands.transfer:push", "publish local models to a registry"),
        "mirror": ("cli.commands.transfer:mirror", "copy a model from registry to registry"),
        "create": ("cli.commands.create:create", "make a model from a Modelfile and a GGUF file"),
        "list": ("cli.commands.listing:list_models", "what the local store, or a registry, holds"),
        "tags": ("cli.commands.listing:tags", "the tags of a model at its registry"),
        "show": ("cli.commands.show:show", "what a model is made of"),
        "cp": ("cli.commands.store:cp", "give a model a second name"),
        "rm": ("cli.commands.store:rm", "remove models"),
        "prune": ("cli.commands.store:prune", "remove what nothing needs any more"),
    },
    "Registries": {
        "signin": ("cli.commands.account:signin", "let a registry know your key"),
        "whoami": ("cli.commands.account:whoami", "who a registry takes you for"),
        "serve": ("cli.commands.serve:serve", "run the embedded private registry"),
        "admin": ("cli.commands.admin:admin", "its accounts, keys and rights"),
    },
    "And": {
        "demo": ("cli.commands.demo:demo", "the whole story on this machine, in under a minute"),
        "completion": ("cli.commands.shell:completion", "completion for bash, zsh or fish"),
        "version": ("cli.commands.shell:version", "which Ferry this is"),
    },
}


class LazyGroup(click.Group):
    """A group whose commands are a table of `module:function`, so that none costs another's imports."""

    def __init__(self, *arguments: Any, sections: dict[str, dict[str, tuple[str, str]]], **options: Any):
        super().__init__(*arguments, **options)
        self._sections = sections
        self._targets = {name: row[0] for rows in sections.values() for name, row in rows.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = self._targets.get(cmd_name)
        if target is None:
            return None
        module, _, function = target.partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands are what there is to say; --help was found."""
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, rows in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, words) for name, (_, words) in rows.items()])


EXAMPLES = """\
\b
  ferry demo                                     see it work
  ferry pull models.acme.example/acme/tiny:1.0   fetch a private model
"""


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Publish, privately pull and mirror AI models.\n\n" + EXAMPLES,
    epilog="`ferry COMMAND --help` says more.",
    invoke_without_command=True,
)
@click.option("--version", is_flag=True, help="Say which Ferry this is.")
@click.pass_context
def app(ctx: click.Context, version: bool) -> None:
    """See `help` above."""
    if version:
        click.echo(distribution.line())
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """`ferry`, from its arguments to its exit code; never returns."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    environ = settings.environment()
    if "_FERRY_COMPLETE" in environ:
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(app, {}, "ferry", "_FERRY_COMPLETE", environ["_FERRY_COMPLETE"]))
    run = ending.first_look(words, environ.get("FERRY_FORMAT", ""))
    sys.exit(ending.of(run, lambda: _invoke(words, run)))


def _invoke(words: list[str], run: ending.Run) -> object:
    """Click without its own ending (`standalone_mode`), which would turn every error into a 1."""
    if sys.platform == "win32":
        from registry.errors import InvalidError

        raise InvalidError("Ferry runs on Linux and macOS", hint="on Windows, use it inside WSL")
    with app.make_context("ferry", words, obj=run) as context:
        return app.invoke(context)
