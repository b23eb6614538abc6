"""Copies of an embedded registry, and the way back from them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import data_directory
from cli.extra import need_server
from cli.options import Invocation, command
from cli.render import size, visible
from registry.errors import CorruptError

if TYPE_CHECKING:
    from registry.server.backup import BackedUp
    from registry.server.restore import Restored


@command("data")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with-blobs", is_flag=True, help="The blobs too: everything, in one tar.")
def backup(invocation: Invocation, file: Path, with_blobs: bool) -> int:
    """Copy the database into FILE, also while it is served. The blobs are files: copy them as such, after it.

    \b
      ferry admin backup registry-backup.db
      ferry admin backup monday.tar --with-blobs --data /srv/ferry
    """
    with data_directory.registry(invocation) as registry:
        from registry.server import backup as copies

        if with_blobs:
            done = copies.backup_with_blobs(registry.depot.engine, registry.depot.blobs, file)
            return _tell_backup(invocation, file, done)
        copies.backup(registry.depot.engine, file)
    invocation.terminal.answer({"file": str(file)}, f"{file} is a copy of the database")
    return 0


def _tell_backup(invocation: Invocation, file: Path, done: BackedUp) -> int:
    if invocation.terminal.json:
        damaged = [str(each) for each in done.damaged]
        invocation.terminal.document(
            {"file": str(file), "blobs": done.blobs, "size": done.bytes, "damaged": damaged}
        )
    else:
        invocation.terminal.line(f"{file} holds the database and {done.blobs} blobs of {size(done.bytes)}")
        for each in done.damaged:
            invocation.terminal.line(f"missing or damaged, here and in the backup: {each}")
    return CorruptError.exit if done.damaged else 0


@command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--onto", "directory", required=True, type=click.Path(path_type=Path), help="The data directory."
)
@click.option(
    "--revocations",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Withdraw again what DIR/revocations says was withdrawn since.",
)
def restore(invocation: Invocation, file: Path, directory: Path, revocations: Path | None) -> None:
    """Put a backup in the place of the database of DIR.

    A copy from DIR/copies is a backup too. Tokens and links that were given before are dead afterwards.

    \b
      ferry admin restore registry-backup.db --onto restored
      ferry admin restore monday.tar --onto /srv/ferry
    """
    need_server("ferry admin")
    from registry.server.registry import new_id
    from registry.server.restore import Restore

    done = Restore(directory, time.time, new_id, data_directory.actor()).run(file, revocations)
    if invocation.terminal.json:
        invocation.terminal.document(_restored(done, again=revocations is not None))
    else:
        _tell_restored(invocation, file, directory, done, again=revocations is not None)


def _restored(done: Restored, *, again: bool) -> dict[str, object]:
    changes = [
        {"action": each.action, "subject": each.subject, "repository": each.repository or None}
        for each in done.withdrawn
    ]
    return {
        "blobs": done.blobs,
        "missing": done.missing,
        "brought": done.brought,
        "aside": str(done.aside) if done.aside else None,
        "withdrawn": changes,
        "withdrawn_again": again,
    }


def _tell_restored(
    invocation: Invocation, file: Path, directory: Path, done: Restored, *, again: bool
) -> None:
    invocation.terminal.line(f"{directory} has the database of {file}: it knows {done.blobs} blobs")
    if done.brought:
        were = "was" if done.brought == 1 else "were"
        invocation.terminal.line(f"{done.brought} of them {were} not there, and came out of the backup")
    if done.missing:
        invocation.terminal.line(
            f"{done.missing} of them {'is' if done.missing == 1 else 'are'} not there; "
            f"ferry admin check --data {directory} says which models need them"
        )
    if done.aside:
        invocation.terminal.line(f"the database that was there is {done.aside}")
    said = "withdrawn since, and now again" if again else "withdrawn since, and given again by this"
    for each in done.withdrawn:
        what = " ".join(filter(None, (each.action, each.repository, each.subject)))
        invocation.terminal.line(f"{said}: {visible(what)}")
