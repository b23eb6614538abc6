"""Accounts, keys and rights of an embedded registry, in its data directory: also while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import data_directory
from cli.commands.apikey import apikey
from cli.commands.backup import backup, restore
from cli.commands.invite import user_invite, user_reset
from cli.commands.publisher import publisher
from cli.commands.teams import immutable, org, service
from cli.commands.upkeep import audit, check, gc
from cli.groups import Group
from cli.options import Invocation, command
from cli.render import Document, date
from registry.disk import files
from registry.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from registry.auth.keys import PublicKey
    from registry.server.people import Person

_KEY_BYTES = 16 * 1024


def _completed(*places: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What completes the first, the second, … of a command's `words`."""

    def complete(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
        place = len(ctx.params.get("words") or ())
        return [word for word in places[place] if word.startswith(begun)] if place < len(places) else []

    return complete


@click.group(cls=Group)
def admin() -> None:
    """Accounts, keys and rights of an embedded registry; also while it runs.

    \b
      ferry admin user add ada --key ada.pub
      ferry admin grant ada acme read
    """


@admin.group(cls=Group)
def user() -> None:
    """Accounts: each owns the namespace of its name.

    \b
      ferry admin user add ada --key ada.pub --admin
      ferry admin user list
    """


@admin.group(cls=Group)
def key() -> None:
    """Keys: each speaks for one account.

    \b
      ferry admin key add ada ada.pub
      ferry admin key list ada
    """


@command("data", name="add")
@click.argument("name")
@click.option("--key", "line", metavar="FILE.pub", help="The account's first public key.")
@click.option("--admin", "is_admin", is_flag=True, help="May do everything.")
def user_add(invocation: Invocation, name: str, line: str | None, is_admin: bool) -> None:
    """Make the account NAME.

    \b
      ferry admin user add ada --key ada.pub
      ferry admin user add root --key root.pub --admin
    """
    public = _public_key(line) if line else None
    with data_directory.registry(invocation) as registry:
        made = registry.accounts.add_user(name, admin=is_admin, key=public, actor=data_directory.actor())
    document = {"name": made.name, "admin": made.admin, "fingerprint": public.fingerprint if public else None}
    invocation.terminal.answer(
        document, f"{name} has an account" + (f", with the key {public}" if public else "")
    )


@command("data", name="list")
def user_list(invocation: Invocation) -> None:
    """List the accounts.

    \b
      ferry admin user list
      ferry admin user list --format json
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.passwords import Passwords
        from registry.server.people import People

        passwords = Passwords(registry.depot.engine)
        found = People(registry.accounts, passwords, registry.invitations).listed()
        keys = [key for key in registry.credentials.list_keys() if key.revoked is None]
    documents: list[Document] = [
        {
            "name": each.user.name,
            "admin": each.user.admin,
            "disabled": each.user.disabled,
            "created": date(each.user.created),
            "password": each.has_password,
            "invited_until": date(each.invited),
            "keys": [key.fingerprint for key in keys if key.user == each.user.name],
        }
        for each in found
    ]
    rows = [
        (
            each.user.name,
            "admin" if each.user.admin else "",
            _state_of(each),
            "yes" if each.has_password else "no",
            str(date(each.user.created)),
        )
        for each in found
    ]
    invocation.terminal.listing(documents, ("NAME", "ADMIN", "STATE", "PASSWORD", "CREATED"), rows)


def _state_of(person: Person) -> str:
    """Whether an account is let in, and until when its link to choose a password is good."""
    if person.user.disabled:
        return "disabled"
    return f"invited until {date(person.invited)}" if person.invited is not None else "active"


@command("data", name="disable")
@click.argument("name")
def user_disable(invocation: Invocation, name: str) -> None:
    """Refuse every key of NAME from the next request on.

    \b
      ferry admin user disable ada
      ferry admin user disable ada --data /srv/ferry
    """
    with data_directory.registry(invocation) as registry:
        registry.accounts.disable(name, data_directory.actor())
    invocation.terminal.answer({"name": name, "disabled": True}, f"{name} is disabled")


@command("data", name="enable")
@click.argument("name")
def user_enable(invocation: Invocation, name: str) -> None:
    """Let a disabled account in again.

    \b
      ferry admin user enable ada
      ferry admin user enable ada --data /srv/ferry
    """
    with data_directory.registry(invocation) as registry:
        registry.accounts.enable(name, data_directory.actor())
    invocation.terminal.answer({"name": name, "disabled": False}, f"{name} is enabled")


@command("data", name="add")
@click.argument("name", metavar="USER")
@click.argument("line", metavar="FILE.pub")
def key_add(invocation: Invocation, name: str, line: str) -> None:
    """Let the public key in FILE.pub (or -) speak for USER.

    \b
      ferry admin key add ada ada.pub
      ferry admin key add ada - < laptop.pub
    """
    public = _public_key(line)
    with data_directory.registry(invocation) as registry:
        registry.credentials.add_key(name, public, data_directory.actor())
    invocation.terminal.answer(
        {"user": name, "fingerprint": public.fingerprint}, f"{public} speaks for {name}"
    )


@command("data", name="list")
@click.argument("name", metavar="[USER]", required=False)
def key_list(invocation: Invocation, name: str | None) -> None:
    """List everybody's keys, or USER's; revoked ones too.

    \b
      ferry admin key list
      ferry admin key list ada
    """
    with data_directory.registry(invocation) as registry:
        found = registry.credentials.list_keys(name or "")
    documents: list[Document] = [
        {
            "fingerprint": each.fingerprint,
            "user": each.user,
            "added": date(each.added),
            "revoked": date(each.revoked),
        }
        for each in found
    ]
    rows = [
        (each.fingerprint, each.user, str(date(each.added)), "revoked" if each.revoked else "")
        for each in found
    ]
    invocation.terminal.listing(documents, ("KEY", "USER", "ADDED", "STATE"), rows)


@command("data", name="revoke")
@click.argument("fingerprint")
def key_revoke(invocation: Invocation, fingerprint: str) -> None:
    """Refuse the key and everything issued to it, from now on.

    \b
      ferry admin key revoke SHA256:HF3uvmDtT/wWyTcgb2DwyyKdwdqDv4ODKzdyZ0qIbV8
      ferry admin key list
    """
    with data_directory.registry(invocation) as registry:
        ended = registry.credentials.revoke_key(fingerprint, data_directory.actor())
    said = f"{fingerprint} is revoked" if ended else f"{fingerprint} was revoked already"
    invocation.terminal.answer({"fingerprint": fingerprint, "revoked": True}, said)


@command("data", name="remove")
@click.argument("name")
def user_remove(invocation: Invocation, name: str) -> None:
    """End the account NAME, its keys and its rights. Its models stay.

    \b
      ferry admin user remove ada
      ferry admin user list
    """
    with data_directory.registry(invocation) as registry:
        stays = registry.accounts.remove(name, data_directory.actor())
    said = f"; what is published below {name}/ stays, and belongs to nobody" if stays else ""
    invocation.terminal.answer(
        {"name": name, "removed": True, "models": stays}, f"{name} has no account any more{said}"
    )


@command("data")
@click.argument(
    "words",
    metavar="USER NAMESPACE[/MODEL] read|write|owner|none | list [USER]",
    nargs=-1,
    shell_complete=_completed(("list",), (), ("read", "write", "owner", "none")),
)
def grant(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Say what USER may do in somebody else's namespace, or model.

    \b
      ferry admin grant ada acme read
      ferry admin grant list
    """
    if words[:1] == ("list",) and len(words) <= 2:
        _list_grants(invocation, words[1] if len(words) > 1 else "")
        return
    if len(words) != 3:
        raise InvalidError("a right is USER NAMESPACE[/MODEL] read, write, owner or none; or: list [USER]")
    name, scope, right = words
    with data_directory.registry(invocation) as registry:
        from registry.server.principal import Right

        there = registry.rights.grant(name, scope, Right.parse(right), data_directory.actor())
    document: Document = {"user": name, "scope": scope.lower(), "right": right.lower(), "there": there}
    invocation.terminal.answer(
        document, f"{name} may {_MAY.get(right.lower(), right)} {scope}{_not_yet(scope, there)}"
    )


_MAY = {"read": "read", "write": "read and write", "owner": "read, write and share", "none": "do nothing in"}


def _list_grants(invocation: Invocation, name: str) -> None:
    with data_directory.registry(invocation) as registry:
        found = registry.rights.grants(name)
    rows = [(each.user, each.scope, each.right.name.lower()) for each in found]
    documents: list[Document] = [
        {"user": user, "scope": scope, "right": right} for user, scope, right in rows
    ]
    invocation.terminal.listing(documents, ("USER", "WHERE", "RIGHT"), rows)


def _not_yet(where: str, there: bool) -> str:
    """What is added where a right is given in something that is not there: it may be mistyped."""
    return "" if there else f" (nothing is at {where} yet)"


@command("data")
@click.argument(
    "words",
    metavar="NAMESPACE/MODEL private|public | list",
    nargs=-1,
    shell_complete=_completed(("list",), ("private", "public")),
)
def visibility(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Let anybody read a model, or only those with a right.

    \b
      ferry admin visibility acme/tiny public
      ferry admin visibility list
    """
    if words == ("list",):
        with data_directory.registry(invocation) as registry:
            public = registry.rights.public()
        invocation.terminal.listing(
            [{"repository": name} for name in public], ("PUBLIC",), [(name,) for name in public]
        )
        return
    if len(words) != 2 or words[1] not in ("private", "public"):
        raise InvalidError("a visibility is NAMESPACE/MODEL private or public; or: list")
    repository, state = words
    with data_directory.registry(invocation) as registry:
        there = registry.rights.set_public(repository, state == "public", data_directory.actor())
    document: Document = {"repository": repository.lower(), "visibility": state, "there": there}
    invocation.terminal.answer(document, f"{repository} is {state}{_not_yet(repository, there)}")


_Commands = tuple[tuple[click.Group, tuple[click.Command, ...]], ...]
_COMMANDS: _Commands = (
    (user, (user_add, user_invite, user_reset, user_list, user_disable, user_enable, user_remove)),
    (key, (key_add, key_list, key_revoke)),
    (
        admin,
        (apikey, org, service, publisher, immutable, grant, visibility, gc, check, backup, restore, audit),
    ),
)
for _group, _commands in _COMMANDS:
    for _command in _commands:
        _group.add_command(_command)


def _public_key(place: str) -> PublicKey:
    """The public key in a `.pub` file, or on standard input."""
    from registry.auth.keys import PublicKey

    if place == "-":
        return PublicKey.parse_line(sys.stdin.read(_KEY_BYTES) if sys.stdin else "")
    try:
        data = files.read_given(Path(place), _KEY_BYTES + 1).data
    except NotFoundError:
        hint = "name the .pub file that ssh-keygen or ferry signin made"
        raise InvalidError(f"there is no public key at {place}", hint=hint) from None
    if len(data) > _KEY_BYTES:
        raise InvalidError(f"{place} is no public key: it is longer than {_KEY_BYTES} bytes")
    return PublicKey.parse_line(data.decode("utf-8", "replace"))
