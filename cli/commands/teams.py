"""Organisations, service accounts and immutable tags of an embedded registry, in its data directory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from cli import data_directory, values
from cli.groups import Group
from cli.options import Invocation, command
from cli.render import Document, date, visible
from registry.errors import InvalidError

if TYPE_CHECKING:
    from registry.server.api_keys import Made
    from registry.server.key_scopes import KeyScope
    from registry.server.principal import Right

_ROLES = ("reader", "writer", "owner", "none")


@click.group(cls=Group)
def org() -> None:
    """Organisations: namespaces that belong to several people.

    \b
      ferry admin org add acme
      ferry admin org member acme ada owner
    """


@click.group(cls=Group)
def service() -> None:
    """Service accounts: programs that belong to a namespace.

    \b
      ferry admin service add acme/ci --role writer
      ferry admin service list acme
    """


@command("data", name="add")
@click.argument("name")
@click.option("--owner", default="", metavar="USER", help="The account that is its first owner.")
def org_add(invocation: Invocation, name: str, owner: str) -> None:
    """Make the organisation NAME, which owns the namespace of its name.

    \b
      ferry admin org add acme --owner ada
      ferry admin org add lab
    """
    with data_directory.registry(invocation) as registry:
        models = registry.organisations.add(name, owner, data_directory.actor())
        members = registry.organisations.one(name).members
    before = {user: right for user, right in members.items() if user != owner}  # by grants there were
    alone = "" if before else ", which only administrators manage yet"
    said = f", owned by {owner}" if owner else alone
    more = f"; what is published below {name}/ is its own now" if models else ""
    more += f"; in it by earlier grants: {_in_words(before)}" if before else ""
    document: Document = {"name": name, "owner": owner or None, "models": models}
    invocation.terminal.answer(document, f"{name} is an organisation{said}{more}")


@command("data", name="list")
@click.argument("name", metavar="[NAME]", required=False)
def org_list(invocation: Invocation, name: str | None) -> None:
    """List the organisations, with their members and roles.

    \b
      ferry admin org list
      ferry admin org list acme --format json
    """
    with data_directory.registry(invocation) as registry:
        found = [registry.organisations.one(name)] if name else registry.organisations.all()
    documents: list[Document] = [
        {
            "name": each.name,
            "created": date(each.created),
            "members": each.documents,
        }
        for each in found
    ]
    rows = [
        (
            each.name,
            _in_words(each.members, each.disabled),
            str(date(each.created)),
        )
        for each in found
    ]
    invocation.terminal.listing(documents, ("NAME", "MEMBERS", "CREATED"), rows)


@command("data", name="member")
@click.argument("name", metavar="ORG")
@click.argument("user", metavar="USER")
@click.argument("role", type=click.Choice(_ROLES))
def org_member(invocation: Invocation, name: str, user: str, role: str) -> None:
    """Say what USER is in ORG; none ends every right there.

    \b
      ferry admin org member acme ada writer
      ferry admin org member acme ada none
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.organisations import parse_role

        registry.organisations.set_role(name, user, parse_role(role), data_directory.actor())
    article = "an" if role == "owner" else "a"
    said = f"{user} is not in {name} any more" if role == "none" else f"{user} is {article} {role} of {name}"
    invocation.terminal.answer({"organisation": name, "user": user, "role": role}, said)


@command("data", name="remove")
@click.argument("name")
def org_remove(invocation: Invocation, name: str) -> None:
    """End the organisation NAME and every right in it. Its models stay.

    \b
      ferry admin org remove acme
      ferry admin org list
    """
    with data_directory.registry(invocation) as registry:
        stays = registry.organisations.remove(name, data_directory.actor())
    said = f"; what is published below {name}/ stays, and belongs to nobody" if stays else ""
    document: Document = {"name": name, "removed": True, "models": stays}
    invocation.terminal.answer(document, f"{name} is no organisation any more{said}")


@command("data", name="add")
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option("--role", type=click.Choice(("reader", "writer")), default="reader", help="reader, or writer.")
@click.option("--note", default="", help="What it is for.")
def service_add(invocation: Invocation, name: str, role: str, note: str) -> None:
    """Make a service account, and show its first key: only this once.

    The key is good for 90 days. Its owners make others, in the browser or by the account API.

    \b
      ferry admin service add acme/ci --role writer
      ferry admin service add acme/mirror --note "the mirror in the lab"
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.organisations import parse_role

        actor = data_directory.actor()
        made = registry.services.add(name, parse_role(role), note, actor)
        key = registry.api_keys.create(made, _everything(), actor=actor)
    _show(invocation, made.name, key, f"{made.name} is a service account, a {role}; its first key")


@command("data", name="key")
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option("--expires", default="90d", metavar="90d", help="How long it is good.")
@click.option("--note", default="", metavar="TEXT", help="What it is for.")
def service_key(invocation: Invocation, name: str, expires: str, note: str) -> None:
    """Make another key of a service account, shown only this once.

    \b
      ferry admin service key acme/ci
      ferry admin service key acme/ci --expires 30d --note "second runner"
    """
    seconds = values.duration(expires, "--expires", least=1.0)
    with data_directory.registry(invocation) as registry:
        held, actor = registry.services.one(name), data_directory.actor()
        key = registry.api_keys.create(held, _everything(), seconds=int(seconds), note=note, actor=actor)
    _show(invocation, held.name, key, f"a key of {held.name}")


@command("data", name="list")
@click.argument("namespace", metavar="[NAMESPACE]", required=False)
def service_list(invocation: Invocation, namespace: str | None) -> None:
    """List the service accounts, of NAMESPACE or all.

    \b
      ferry admin service list
      ferry admin service list acme --format json
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.organisations import role_name

        found = registry.services.listed(namespace or "")
    documents: list[Document] = [
        {
            "name": each.name,
            "role": role_name(each.right),
            "note": each.note,
            "created": date(each.created),
            "keys": each.keys,
            "last_used": date(each.last_used),
        }
        for each in found
    ]
    rows = [
        (
            each.name,
            role_name(each.right),
            str(each.keys),
            str(date(each.last_used) or "never"),
            visible(each.note),
        )
        for each in found
    ]
    invocation.terminal.listing(documents, ("NAME", "ROLE", "KEYS", "LAST USED", "NOTE"), rows)


@command("data", name="revoke")
@click.argument("name", metavar="NAMESPACE/NAME")
def service_revoke(invocation: Invocation, name: str) -> None:
    """End a service account; all its keys are refused from now on.

    \b
      ferry admin service revoke acme/ci
      ferry admin service list acme
    """
    with data_directory.registry(invocation) as registry:
        registry.services.revoke(name, data_directory.actor())
    invocation.terminal.answer(
        {"name": name.lower(), "revoked": True}, f"{name} is revoked, with all its keys"
    )


@command("data")
@click.argument("words", metavar="NAMESPACE[/MODEL] PATTERN | list [NAMESPACE[/MODEL]]", nargs=-1)
@click.option("--take-back", is_flag=True, help="Let these tags move again.")
def immutable(invocation: Invocation, words: tuple[str, ...], take_back: bool) -> None:
    """Keep the tags that PATTERN covers where they are, once made.

    \b
      ferry admin immutable acme/tiny 'v*'
      ferry admin immutable acme/tiny 'v*' --take-back
    """
    if words[:1] == ("list",) and len(words) <= 2 and not take_back:
        with data_directory.registry(invocation) as registry:
            found = registry.immutable.listed(words[1] if len(words) > 1 else "")
        documents: list[Document] = [{"scope": each.scope, "pattern": each.pattern} for each in found]
        rows: Sequence[Sequence[str]] = [(each.scope, each.pattern) for each in found]
        invocation.terminal.listing(documents, ("WHERE", "IMMUTABLE TAGS"), rows)
        return
    if len(words) != 2:
        raise InvalidError("immutable tags are NAMESPACE[/MODEL] PATTERN; or: list [NAMESPACE[/MODEL]]")
    where, pattern = words
    with data_directory.registry(invocation) as registry:
        if take_back:
            registry.immutable.remove(where, pattern, data_directory.actor())
        else:
            registry.immutable.add(where, pattern, data_directory.actor())
    document: Document = {"scope": where.lower(), "pattern": pattern, "immutable": not take_back}
    said = "may move again" if take_back else "stay where they are once they are made"
    invocation.terminal.answer(document, f"in {where}, tags '{visible(pattern)}' {said}")


def _in_words(members: Mapping[str, Right], disabled: Collection[str] = ()) -> str:
    """Who is in an organisation, and as what: `ada (owner), bob (writer, disabled)`."""
    from registry.server.organisations import role_name

    return ", ".join(
        f"{user} ({role_name(right)}{', disabled' * (user in disabled)})" for user, right in members.items()
    )


def _show(invocation: Invocation, name: str, made: Made, what: str) -> None:
    """The secret alone on standard output, for a variable or a file; what it is, beside it."""
    until = date(made.expires)
    document = {"name": name, "id": made.id, "secret": made.secret, "expires": until}
    invocation.terminal.secret(document, made.secret, f"{what} is {made.id}, until {until}")


def _everything() -> tuple[KeyScope, ...]:
    """The scopes of a key that may all that its service account may."""
    from registry.server.key_scopes import KeyScope

    return (KeyScope.parse("*:*"),)


for one in (org_add, org_list, org_member, org_remove):
    org.add_command(one)
for one in (service_add, service_key, service_list, service_revoke):
    service.add_command(one)
