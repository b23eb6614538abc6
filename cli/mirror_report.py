"""What a mirror of many did, for programs (CLI.md), as a table, and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.hints import next_step
from cli.render import Document, Terminal, error_document, markdown_cell, size, visible
from registry.errors import exit_code
from registry.transfer.pairs import Outcome, Result

_NOTHING_DONE = (Outcome.FAILED, Outcome.GONE)
_STEPS = 3  # that are told at the end


@dataclass(frozen=True, slots=True)
class Round:
    """One run over all names: what became of each, in how many seconds; which tags were deleted.

    `dry_run`: it only looked, and would have. `stopped`: it ended with a failure, before all names were told.
    """

    results: Sequence[Result]
    seconds: float
    dry_run: bool = False
    deleted: Sequence[str] = ()
    stopped: bool = False

    @property
    def transferred(self) -> int:
        """The bytes that moved."""
        return sum(result.transferred for result in self.results)

    @property
    def would_move(self) -> int:
        """The bytes that would move."""
        return sum(result.would_move for result in self.results)

    @property
    def would_mount(self) -> int:
        """The bytes that would be mounted, where the destination does that; they move where it does not."""
        return sum(result.would_mount for result in self.results)

    @property
    def exit(self) -> int:
        """The exit code of the run."""
        return exit_code([result.error.exit for result in self.results if result.error])


def row(result: Result) -> Document:
    """One name, for programs."""
    known: Document = {
        "source": result.source or None,
        "destination": result.destination,
        "digest": str(result.digest) if result.digest else None,
        "how": str(result.outcome),
        "tag": _tag(result),
        "was": str(result.was) if result.was else None,
        "transferred": result.transferred,
    }
    if result.would_move:
        known["would_transfer"] = result.would_move
    if result.would_mount:
        known["would_mount"] = result.would_mount
    if result.error:
        known["error"] = error_document(result.error)["error"]
    return known


def planned(result: Result) -> Document:
    """One name of a run that only looked."""
    how = None if result.outcome is Outcome.COPIED else str(result.outcome)
    return {**row(result), "how": how, "would_transfer": result.would_move}


def documents(done: Round) -> list[Document]:
    """Every name, one row a tag, in the order of the destinations; then those that were deleted."""
    gone: list[Document] = [
        {"source": None, "destination": each, "digest": None, "how": _gone(done), "tag": "deleted"}
        for each in done.deleted
    ]
    return [planned(result) if done.dry_run else row(result) for result in _ordered(done.results)] + gone


def show(terminal: Terminal, done: Round, *, verbose: bool) -> None:
    """The table of what changed or failed (of all, with `verbose`), and one line for the whole."""
    shown = [result for result in _ordered(done.results) if verbose or _is_news(result)]
    if shown:
        rows = [(result.destination, *_cells(result, done.dry_run)) for result in shown]
        terminal.table(("DESTINATION", "RESULT", "MOVES" if done.dry_run else "MOVED", ""), rows)
    for each in done.deleted:
        terminal.line(visible(f"{each}  {_gone(done)}"))
    terminal.line(line(done))
    errors = [result.error for result in done.results if result.error]
    for step in [*dict.fromkeys(filter(None, map(next_step, errors)))][:_STEPS]:
        terminal.complain(f"  → {visible(step)}")
    if done.stopped:
        terminal.note("ferry: it ends with a failure; --keep-going goes on with others, if there are any")


def line(done: Round) -> str:
    """The whole run in one line."""
    said = ", ".join(f"{count} {word}" for word, count in counts(done).items())
    deleted = f", {len(done.deleted)} {_gone(done)}" if done.deleted else ""
    if done.dry_run:
        mounted = f", {size(done.would_mount)} would be mounted" if done.would_mount else ""
        return f"{said}{deleted}; {size(done.would_move)} would move{mounted}"
    return f"{said}{deleted}; {size(done.transferred)} moved in {done.seconds:.1f} s"


def counts(done: Round) -> dict[str, int]:
    """How many names became what: `copied`, `present`, `failed`; of a run that only looked what they are.

    Those that are `gone` are told where there are any.
    """
    counted = Counter(_word(result, done.dry_run) for result in done.results)
    words = ("new", "moved", "same", "failed") if done.dry_run else ("copied", "present", "failed")
    gone = {Outcome.GONE: counted[Outcome.GONE]} if counted[Outcome.GONE] else {}
    return {word: counted[word] for word in words} | gone


def markdown(done: Round) -> str:
    """The same as a Markdown document, as CI jobs show it."""
    lines = ["### ferry mirror", "", line(done), ""]
    shown = [result for result in _ordered(done.results) if _is_news(result)]
    if shown:
        lines += ["| destination | result | bytes | |", "| --- | --- | --: | --- |"]
    for result in shown:
        what, moved, about = _cells(result, done.dry_run)
        lines.append(f"| {markdown_cell(result.destination)} | {what} | {moved} | {markdown_cell(about)} |")
    lines += [f"- {markdown_cell(each)}: {_gone(done)}" for each in done.deleted]
    return "\n".join(lines).rstrip() + "\n"


def _is_news(result: Result) -> bool:
    """Whether it is not as it was: a signature may have come to a name that is the same."""
    return result.outcome is not Outcome.PRESENT or bool(result.transferred or result.would_move)


def _gone(done: Round) -> str:
    return "would be deleted" if done.dry_run else "deleted"


def _cells(result: Result, dry_run: bool) -> tuple[str, str, str]:
    moved = size(result.would_move if dry_run else result.transferred)
    if result.error:
        return "failed", moved, why(result)
    about = f"from {result.was.short}" if result.was and result.outcome is Outcome.COPIED else ""
    return _word(result, dry_run), moved, about


def why(result: Result) -> str:
    """The error without what its line says already: which blob of which name it was."""
    message = result.error.message if result.error else ""
    for place in (result.destination, result.source):
        doing, colon, cause = message.partition(f"{place}: ")
        if place and colon and ": " not in doing:
            return cause
    return message


def _word(result: Result, dry_run: bool) -> str:
    if not dry_run or result.outcome in _NOTHING_DONE:
        return str(result.outcome)
    return {"created": "new", "moved": "moved", "unchanged": "same"}.get(str(_tag(result)), "new")


def _tag(result: Result) -> str | None:
    if result.outcome in _NOTHING_DONE:
        return None
    if result.was is None:
        return "created"
    return "unchanged" if result.was == result.digest else "moved"


def _ordered(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda result: result.destination)
