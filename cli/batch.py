"""One act on several names: a failure stops only its own, and the worst decides the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cli.options import Invocation
from cli.render import Complaints, Document, error_document
from registry.errors import RegistryError, exit_code

T = TypeVar("T")


def each(
    invocation: Invocation,
    items: Sequence[T],
    act: Callable[[T], tuple[Document, str]],
    *,
    listed: bool = False,
    untold: int = 0,
) -> int:
    """Do it to each item; the exit code. `act` answers with what was done, as a document and as text.

    One item: its document, and its error is raised. Several: the list of documents and errors, or the
    text of each and a table of what failed; so for one too that stands in a list of any number (`listed`).
    `untold`: how many more there are, which are as they should be.
    """
    if len(items) == 1 and not listed:
        document, text = _named(items[0], act)
        invocation.terminal.answer(document, text)
        return 0
    documents: list[Document] = []
    failures: list[tuple[str, RegistryError]] = []
    complaints = Complaints(invocation.terminal)  # a host that is down is told once
    for item in items:
        try:
            document, text = _named(item, act)
        except RegistryError as error:
            failures.append((str(item), error))
            documents.append(error_document(error))
            complaints.tell(error)
        else:
            documents.append(document)
            if not invocation.terminal.json:
                invocation.terminal.line(text)
    if invocation.terminal.json:
        invocation.terminal.document(documents)
    elif failures:
        _table(invocation, items, failures, len(items) + untold)
    return exit_code([error.exit for _, error in failures])


def _named(item: T, act: Callable[[T], tuple[Document, str]]) -> tuple[Document, str]:
    """What `act` answers; its error names the item, where it names nothing."""
    try:
        return act(item)
    except RegistryError as error:
        error.name = error.name or str(item)
        raise


def _table(
    invocation: Invocation,
    items: Sequence[object],
    failures: Sequence[tuple[str, RegistryError]],
    all_of: int,
) -> None:
    """What became of each, at the end, where it is still on the screen."""
    failed = {name: type(error).__name__ for name, error in failures}
    invocation.terminal.complain(f"{len(failures)} of {all_of} failed:")
    for item in items:
        invocation.terminal.complain(f"  {failed.get(str(item), 'ok'):<16} {item}")
