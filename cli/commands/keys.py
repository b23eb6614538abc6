"""Your credentials at a registry: API keys for programs, and the keys of your machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cli import accounts, values
from cli.groups import Group
from cli.options import NETWORK, Invocation, command
from cli.render import age, visible
from registry.errors import InvalidError

if TYPE_CHECKING:
    from registry.auth.account import AccountClient, Document

_HEAD = ("ID", "KIND", "NOTE", "SHOWN", "USED", "EXPIRES", "STATE")
_ID = 8  # characters of an identifier that are shown, or more where two begin so
_WHOLE_ID = 36
_NOTE = 14
_SHOWN = 11  # characters of a key's fingerprint: enough to tell one's machines apart
_OLD_SECRET = "old secret until "
_HOST = click.option("--host", metavar="HOST", help="The registry [FERRY_REGISTRY, or the settings'].")


@click.group(cls=Group)
def keys() -> None:
    """Your credentials at a registry: API keys for programs, and your machines' keys.

    \b
      ferry keys list --host models.acme.example
      ferry keys create --scope 'acme/*:pull' --note ci --host models.acme.example
    """


@command(*NETWORK)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="Which repositories, and what: 'acme/*:pull,push'.",
)
@click.option("--expires", metavar="90d", help="How long it is good [90d].")
@click.option("--note", default="", metavar="TEXT", help="What it is for.")
@_HOST
def create(
    invocation: Invocation, scopes: tuple[str, ...], expires: str | None, note: str, host: str | None
) -> None:
    """Make an API key, and show it: only this once. Without --scope it may pull what you may.

    \b
      ferry keys create --scope 'acme/*:pull' --note ci --host models.acme.example
      ferry keys create --expires 30d --host models.acme.example
    """
    seconds = values.duration(expires, "--expires", least=1.0) if expires else None
    with accounts.opened(invocation, host) as there:
        made = there.api.create(note, [_scope(scope) for scope in scopes], seconds)
    what = f"the API key {made['id']}, good until {made.get('expires') or 'it is revoked'}"
    invocation.terminal.secret(made, str(made["secret"]), what)


@command(*NETWORK, name="list")
@_HOST
def list_keys(invocation: Invocation, host: str | None) -> None:
    """Your credentials, what for, when used, when they end.

    \b
      ferry keys list --host models.acme.example
      ferry keys list --host models.acme.example --format json
    """
    with accounts.opened(invocation, host) as there:
        rows = there.api.credentials()
    if not any(row.get("kind") == "machine" for row in rows):  # a machine that asks is one of them
        invocation.terminal.note("ferry: an API key asked: it sees itself only; --key FILE asks as a machine")
    shown, now = _shortest([str(row.get("id")) for row in rows]), time.time()
    lines = [_row(row, shown, now) for row in rows]
    invocation.terminal.listing(rows, _HEAD, lines, [_more(row) for row in rows])


@command(*NETWORK)
@click.argument("id")
@_HOST
def revoke(invocation: Invocation, id: str, host: str | None) -> None:
    """End a credential for good, an API key or a machine's. ID may be its beginning.

    \b
      ferry keys revoke 7f3a --host models.acme.example
      ferry keys revoke 7f3b --host models.acme.example --format json
    """
    with accounts.opened(invocation, host) as there:
        id = _whole(there.api, id)
        ended = there.api.revoke(id)
    if invocation.terminal.json:
        invocation.terminal.document({"id": id, "state": "revoked"})
    elif not ended:
        invocation.terminal.line(f"{visible(id)} was revoked already")
    else:
        invocation.terminal.line(f"revoked {visible(id)}: from now on nobody gets in with it")


@command(*NETWORK)
@click.argument("id")
@click.option(
    "--overlap", default="24h", metavar="24h", help="How long the old secret is good; 0 for a leak."
)
@_HOST
def rotate(invocation: Invocation, id: str, overlap: str, host: str | None) -> None:
    """Give the API key ID a new secret, and show it: only this once.

    \b
      ferry keys rotate 7f3a --host models.acme.example
      ferry keys rotate 7f3a --overlap 0 --host models.acme.example
    """
    seconds = values.duration(overlap, "--overlap", least=0.0)
    with accounts.opened(invocation, host) as there:
        made = there.api.rotate(_whole(there.api, id), seconds)
    until = f"the old one is good until {made['old_until']}" if seconds else "the old one is revoked"
    what = f"the new secret of the API key {made['id']}; {until}"
    invocation.terminal.secret(made, str(made["secret"]), what)


for one in (create, list_keys, revoke, rotate):
    keys.add_command(one)


def _row(row: Document, ids: Mapping[str, str], now: float) -> list[str]:
    """A credential as people read it: when it was used as an age, when it ends as a date."""
    texts = {key: str(value) for key, value in row.items() if value not in (None, "", [])}
    state, note = texts.get("state", "-"), texts.get("note", "-")
    return [
        ids[str(row.get("id"))],
        " ".join(texts[key] for key in ("kind", "service") if key in texts) or "-",
        note if len(note) <= _NOTE else f"{note[: _NOTE - 1]}…",
        texts.get("shown", "-").removeprefix("SHA256:")[:_SHOWN],
        age(_moment(texts["last_used"]), now) if "last_used" in texts else "never",
        texts.get("expires", "-")[:10],
        "active" if state.startswith(_OLD_SECRET) else state,
    ]


def _more(row: Document) -> str:
    """What does not fit beside it: what an API key may, and how long its old secret is good."""
    scopes, state = row.get("scopes"), str(row.get("state"))
    parts = [f"may {', '.join(map(str, scopes))}"] if isinstance(scopes, list) and scopes else []
    return "; ".join([*parts, *([state] if state.startswith(_OLD_SECRET) else [])])


def _shortest(ids: Sequence[str]) -> Mapping[str, str]:
    """For each identifier its beginning, as long as tells it from all others."""
    for length in range(_ID, _WHOLE_ID):
        if len({id[:length] for id in ids}) == len(set(ids)):
            return {id: id[:length] for id in ids}
    return {id: id for id in ids}


def _whole(api: AccountClient, id: str) -> str:
    """The identifier that begins with `id`; as it was said, if none does.

    InvalidError if several do, and for "": a script's variable was empty, and nothing is what it meant.
    """
    if not id:
        raise InvalidError("the ID is empty", hint="ferry keys list shows them")
    if len(id) >= _WHOLE_ID:
        return id
    found = [str(row.get("id")) for row in api.credentials()]
    begins = [each for each in found if each.startswith(id)]
    if id not in found and len(begins) > 1:
        raise InvalidError(f"{len(begins)} credentials begin with {id}", hint="say more of it")
    return begins[0] if len(begins) == 1 else id


def _moment(text: str | None) -> float | None:
    """RFC 3339 as Unix seconds; None for none, and for what is not."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _scope(text: str) -> str:
    """`PATTERN:ACTIONS`, as the registry is to hear it."""
    pattern, colon, actions = text.rpartition(":")
    known = ("pull", "push", "delete")
    if not colon or not pattern or not all(action in known for action in actions.split(",")):
        hint = f"actions are {', '.join(known)}; for example --scope 'acme/*:pull,push'"
        raise InvalidError(f"--scope {text}: is not REPOSITORIES:ACTIONS", hint=hint)
    return text
