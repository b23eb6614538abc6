"""What keeps an embedded registry for years: reclaiming, checking, the record of what was changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cli import data_directory, values
from cli.extra import need_server
from cli.options import Invocation, command
from cli.render import counted, date, size, visible
from registry.errors import CorruptError, InvalidError

if TYPE_CHECKING:
    from registry.server.reclaim import Reclaim, Reclaimed, Terms
    from registry.server.registry import Registry

_YEARS = 100 * 365 * 86400.0
_AUDIT_PAGE = 1000
_DIGEST = len("sha256:") + 12  # characters of a digest that the record shows
_STATES = {"digest": "damaged", "size": "wrong size"}  # what ferry verify calls so
_PUSH = "the next push of what needs it brings it anew"


@command("data", "dry_run")
@click.option("--older-than", metavar="1d", help="What was not needed for so long [1d; in the trash: 7d].")
@click.option("--keep-untagged", metavar="30d", help="So long after their last pull; 0: for ever [30d].")
@click.option("--strays", is_flag=True, help="List files that no list knows, and do nothing else.")
def gc(invocation: Invocation, older_than: str | None, keep_untagged: str | None, strays: bool) -> None:
    """Reclaim what no model needs, and what broken uploads left.

    It lies in a trash for a week, and comes back from there when it is needed. While ferry serve runs,
    what was pushed within the hour stays, whatever is asked: a push may be on its way to it.

    \b
      ferry admin gc --dry-run
      ferry admin gc --older-than 2d
    """
    need_server("ferry admin")
    from registry.server.directory import unserved

    given = older_than is not None or keep_untagged is not None
    with (
        data_directory.registry(invocation) as registry,
        unserved(registry.depot.directory) if given else nullcontext(False) as alone,
    ):
        collector = _collector(registry, _terms(older_than, keep_untagged, served=not alone))
        if strays:
            _list_strays(invocation, collector)
            return
        dry_run = invocation.settings.on("dry_run")
        if not dry_run and not invocation.settings.on("yes"):
            _check_clock(registry)
        done = collector.preview() if dry_run else collector.run()
    if invocation.terminal.json:
        invocation.terminal.document(_reclaimed(done, dry_run))
        return
    _say_reclaimed(invocation, done, "would be " if dry_run else "")


def _check_clock(registry: Registry) -> None:
    """By a clock that is wrong everything is old: no server reclaims anything then, and no person unasked."""
    from registry.server.upkeep import doubt

    found = doubt(registry.depot.directory, time.time())
    if found is not None:
        hint = "date shows it; where it is right: ferry admin gc --yes"
        raise InvalidError(f"nothing is reclaimed: {found.why}", hint=hint)


def _collector(registry: Registry, terms: Terms) -> Reclaim:
    from registry.server.reclaim import Reclaim

    return Reclaim(registry.depot, terms, data_directory.actor())


def _terms(older_than: str | None, keep_untagged: str | None, *, served: bool) -> Terms:
    from registry.server.reclaim import KEEP_UNTAGGED, Terms

    untagged = KEEP_UNTAGGED if keep_untagged is None else _time("--keep-untagged", keep_untagged)
    seconds = None if older_than is None else _time("--older-than", older_than)
    return Terms.asked(seconds, untagged or None, served=served)


def _time(option: str, text: str) -> float:
    try:
        seconds = values.seconds(0, _YEARS)(text)
    except InvalidError as error:
        raise InvalidError(f"{option} {text}: {error.message}") from None
    assert isinstance(seconds, float)
    return seconds


def _reclaimed(done: Reclaimed, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "freed": done.freed,
        "trashed": done.trashed,
        "blobs": done.blobs,
        "manifests": done.manifests,
        "uploads": done.uploads,
        "waiting": done.waiting,
        "until": date(done.until),
        "untagged": done.untagged,
    }


def _say_reclaimed(invocation: Invocation, done: Reclaimed, would_be: str) -> None:
    counts = {"manifest": done.manifests, "blob": done.blobs, "broken upload": done.uploads}
    gone = [counted(count, what) for what, count in counts.items() if count]
    if gone:
        invocation.terminal.line(f"{', '.join(gone)} {would_be}dropped: not needed any more")
    if done.trashed:
        invocation.terminal.line(f"{size(done.trashed)} {would_be}moved to the trash")
    invocation.terminal.line(f"{size(done.freed)} {would_be}freed")
    if done.waiting and done.until is not None:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(done.until + 59))
        invocation.terminal.line(
            f"{size(done.waiting)} waits, the last of it until {until}; "
            "with ferry serve stopped, --older-than 0s does not"
        )
    if done.untagged:
        stays = "1 manifest without a tag stays, with what it needs"
        if done.untagged > 1:
            stays = f"{done.untagged} manifests without a tag stay, with what they need"
        invocation.terminal.line(f"{stays}: --keep-untagged says how long")


def _list_strays(invocation: Invocation, collector: Reclaim) -> None:
    found = collector.strays()
    if invocation.terminal.json:
        invocation.terminal.document([{"digest": str(each.digest), "size": each.size} for each in found])
        return
    for each in found:
        invocation.terminal.line(f"{each.digest}  {size(each.size)}")
    total = size(sum(each.size for each in found))
    count = "1 file" if len(found) == 1 else f"{len(found)} files"
    invocation.terminal.line(
        f"{count} of {total} that no list knows: a push of the same bytes adopts them, "
        "and nothing deletes them"
    )


@command("data")
@click.option("--after", metavar="TIME", help="Only what came later: 2026-11-30, or 2026-11-30T12:00:00Z.")
@click.option("--repository", metavar="NAMESPACE/MODEL", help="Only what was done there.")
def audit(invocation: Invocation, after: str | None, repository: str | None) -> None:
    """Show who published, deleted, granted or collected what.

    \b
      ferry admin audit
      ferry admin audit --after 2026-11-30 --repository ada/tiny
    """
    need_server("ferry admin")
    from registry.server.audit import entries

    since = _moment(after)
    with data_directory.registry(invocation) as registry:
        found = entries(registry.depot.engine, after=since, repository=repository or "", limit=_AUDIT_PAGE)
        if invocation.terminal.json:
            invocation.terminal.document(
                [
                    {
                        "time": date(each.time),
                        "user": each.user or None,
                        "credential": each.credential or None,
                        "address": each.address or None,
                        "action": each.action,
                        "repository": each.repository or None,
                        "subject": each.subject or None,
                        "digest": each.digest or None,
                    }
                    for each in found
                ]
            )
            return
    rows = [
        (
            str(date(each.time)),
            visible(each.user or each.address or "-"),
            each.action,
            visible(" ".join(filter(None, (each.repository, each.subject, each.digest[:_DIGEST])))),
        )
        for each in found
    ]
    invocation.terminal.table(("TIME", "WHO", "WHAT", "WHERE"), rows)


def _moment(text: str | None) -> float:
    """A date or a time as Unix seconds; without a zone it is this machine's."""
    if text is None:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidError(
            f"--after {text[:40]}: that is no time", hint="for example 2026-11-30, or 2026-11-30T12:00:00Z"
        ) from None


@command("data")
@click.option("--hash", "hashing", is_flag=True, help="Read every byte, too.")
@click.option("--repair", is_flag=True, help="Take what is wrong out of sight: the next push brings it anew.")
def check(invocation: Invocation, hashing: bool, repair: bool) -> int:
    """See whether every blob is there.

    Models that need a missing one are named.

    \b
      ferry admin check
      ferry admin check --hash --repair
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.check import Check

        looking = Check(registry.depot, hashing)
        found = list(looking.findings())
        if repair:
            yes = invocation.settings.on("yes")
            looking.repair(found, however_many=yes, actor=data_directory.actor())
    documents = [
        {
            "digest": str(each.digest),
            "state": each.wrong.value,
            "hidden": each.hidden,
            "repositories": each.repositories,
            "tags": each.tags,
        }
        for each in found
    ]
    if invocation.terminal.json:
        invocation.terminal.document(documents)
    else:
        for each in found:
            whose = ", ".join(each.tags or each.repositories) or "nothing"
            state = f"{_STATES.get(each.wrong.value, each.wrong.value)}{' (hidden)' if each.hidden else ''}"
            invocation.terminal.line(f"{str(each.digest)[:19]}  {state}  needed by {visible(whose)}")
        invocation.terminal.line(_summary([(each.wrong.value, each.hidden) for each in found], repair))
    return 0 if repair or not found else CorruptError.exit


def _summary(found: Sequence[tuple[str, bool]], repair: bool) -> str:
    """How a check went, and what to do next; for each finding its state, and whether it was hidden before."""
    wrong = [state for state, _ in found if state != "right"]
    back = len(found) - len(wrong)
    told = [f"{_blobs(len(wrong))} not right"] if wrong else []
    told += [f"{_blobs(back)} right again"] if back else []
    hidden = all(hidden or repair for state, hidden in found if state not in ("right", "unreadable"))
    steps = []
    if "unreadable" in wrong:
        steps.append("look at the disk: what cannot be read is not hidden")
    if set(wrong) - {"unreadable"}:
        steps.append(f"{'' if hidden else '--repair hides what is wrong, and '}{_PUSH}")
    if back and not repair:
        steps.append("--repair shows what is right again")
    return "\n  → ".join([", ".join(told) or "every blob is right", *steps])


def _blobs(count: int) -> str:
    return "1 blob is" if count == 1 else f"{count} blobs are"
