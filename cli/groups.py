"""Groups of commands: each shows its help when it stands alone, and knows the nearest of a mistyped one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

Section = Mapping[str, tuple[str, str]]  # a command's name: its `module:function`, and what it does
_SHORT = 3  # letters of a word in which half of them may be wrong
_COLUMN = 38  # characters of each of the two columns in which a table of commands is shown


def meant(word: str, words: Sequence[str]) -> str:
    """`; did you mean X?`, the nearest of `words`; "" where none is near."""
    import difflib  # here, as most words are right

    near = difflib.get_close_matches(word, words, 1, 0.5 if len(word) <= _SHORT else 0.6)
    return f"; did you mean {near[0]}?" if near else ""


class Group(click.Group):
    """A group that ends with 2 and its help when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands are what there is to say; --help was found."""
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            ctx.fail(f"there is no command {name!r}{meant(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are a table of `module:function`, so that none costs another's imports."""

    def __init__(self, *arguments: Any, sections: Mapping[str, Section], **options: Any) -> None:
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section's commands in two columns, read downwards, the sections close together: all of them fit
        a screen."""
        formatter.write_paragraph()
        for title, rows in self._sections.items():
            cells = [f"{name:<11}{words}" for name, (_, words) in rows.items()]
            half = (len(cells) + 1) // 2
            formatter.write_heading(title)
            for number in range(half):
                both = cells[number : number + half + 1 : half]
                formatter.write("  " + "".join(cell.ljust(_COLUMN) for cell in both).rstrip() + "\n")
