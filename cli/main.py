"""The command line: a table of commands, each imported only when it is asked for."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Sequence

import click

from cli import distribution, exits, settings
from cli.groups import LazyGroup, Section

_SECTIONS: dict[str, Section] = {
    "Models": {
        "pull": ("cli.commands.transfer:pull", "fetch into the local store"),
        "push": ("cli.commands.transfer:push", "publish at a registry"),
        "mirror": ("cli.commands.mirror:mirror", "from registry to registry"),
        "outdated": ("cli.commands.outdated:outdated", "what moved there since"),
        "update": ("cli.commands.outdated:update", "fetch what moved there"),
        "create": ("cli.commands.create:create", "a model from a Modelfile"),
        "list": ("cli.commands.listing:list_models", "what is here, or there"),
        "tags": ("cli.commands.listing:tags", "a model's tags"),
        "show": ("cli.commands.show:show", "what a model is made of"),
        "cp": ("cli.commands.store:cp", "give a second name"),
        "rm": ("cli.commands.store:rm", "remove models"),
        "verify": ("cli.commands.verify:verify", "read every byte"),
        "prune": ("cli.commands.store:prune", "remove what is left over"),
    },
    "Registries": {
        "signin": ("cli.commands.signin:signin", "connect your key"),
        "signout": ("cli.commands.signin:signout", "disconnect it"),
        "whoami": ("cli.commands.account:whoami", "who you are there"),
        "login": ("cli.commands.login:login", "keep a password"),
        "logout": ("cli.commands.login:logout", "forget it"),
        "keys": ("cli.commands.keys:keys", "your API keys and machines"),
        "api": ("cli.commands.api:api", "a call with your key"),
        "gateway": ("cli.commands.gateway:gateway", "cloud models for programs"),
        "serve": ("cli.commands.serve:serve", "run a private registry"),
        "admin": ("cli.commands.admin:admin", "its accounts and rights"),
    },
    "And": {
        "doctor": ("cli.commands.doctor:doctor", "what is wrong, and where"),
        "demo": ("cli.commands.demo:demo", "all of it, in a minute"),
        "completion": ("cli.commands.shell:completion", "for bash, zsh or fish"),
        "version": ("cli.commands.shell:version", "which Ferry this is"),
    },
}

EXAMPLES = """\
\b
  ferry demo                                     see it work
  ferry pull models.acme.example/acme/tiny:1.0   fetch a private model
"""


def _say_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(distribution.line())
        ctx.exit()


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Publish, privately pull and mirror AI models. More: ferry COMMAND --help.\n\n" + EXAMPLES,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version)
def app() -> None:
    """See `help` above."""


def main(arguments: Sequence[str] | None = None) -> None:
    """`ferry`, from its arguments to its exit code; never returns."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _leave_no_core()
    environ = settings.environment()
    if "_FERRY_COMPLETE" in environ:
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(app, {}, "ferry", "_FERRY_COMPLETE", environ["_FERRY_COMPLETE"]))
    run = exits.first_look(words, environ.get("FERRY_FORMAT", ""))
    code = exits.of(run, lambda: _invoke(words, run))
    gc.freeze()  # or Python would look at every object once more before it ends: 30 ms
    sys.exit(code)


def _leave_no_core() -> None:
    """A crash writes no image of this process's memory anywhere: keys and passwords are in it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _invoke(words: list[str], run: exits.Run) -> object:
    """Click without its own ending (`standalone_mode`), which would turn every error into a 1."""
    if sys.platform == "win32":
        from registry.errors import InvalidError

        raise InvalidError("Ferry runs on Linux and macOS", hint="on Windows, use it inside WSL")
    with app.make_context("ferry", words, obj=run) as context:
        return app.invoke(context)
