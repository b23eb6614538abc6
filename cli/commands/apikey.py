"""API keys of an embedded registry, as its administrator sees them: which there are, and their end."""

from __future__ import annotations

import time

import click

from cli import data_directory, values
from cli.groups import Group
from cli.options import Invocation, command
from cli.render import age, date


@click.group(cls=Group)
def apikey() -> None:
    """API keys: what programs prove themselves with.

    \b
      ferry admin apikey list ada
      ferry admin apikey revoke 5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11
    """


@command("data", name="list")
@click.argument("name", metavar="[USER]", required=False)
def api_key_list(invocation: Invocation, name: str | None) -> None:
    """List everybody's API keys, or USER's; revoked ones too.

    USER is an account, or a service account: NAMESPACE/NAME.

    \b
      ferry admin apikey list
      ferry admin apikey list acme/ci
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.principal import API_KEY, SERVICE

        found, now = registry.credentials.listed(name or "", API_KEY, SERVICE), time.time()
    documents = [
        {
            "id": each.id,
            "user": each.user,
            "note": each.note,
            "scopes": [str(scope) for scope in each.scopes or ()],
            "created": date(each.created),
            "expires": date(each.expires),
            "last_used": date(each.last_used),
            "shown": each.shown,
            "state": each.state(now),
        }
        for each in found
    ]
    rows = [
        (
            each.id,
            each.user,
            each.shown,
            age(each.last_used, now) if each.last_used else "never",
            each.state(now),
        )
        for each in found
    ]
    below = [
        "; ".join(filter(None, (f"may {', '.join(map(str, each.scopes or ()))}", each.note)))
        for each in found
    ]
    invocation.terminal.listing(documents, ("ID", "USER", "SHOWN", "USED", "STATE"), rows, below)


@command("data", name="revoke")
@click.argument("id")
def api_key_revoke(invocation: Invocation, id: str) -> None:
    """Refuse the API key and everything issued to it, from now on.

    \b
      ferry admin apikey revoke 5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11
      ferry admin apikey list
    """
    with data_directory.registry(invocation) as registry:
        ended = registry.credentials.revoke_api_key(id, data_directory.actor())
    invocation.terminal.answer(
        {"id": id, "revoked": True}, f"{id} is revoked" if ended else f"{id} was revoked already"
    )


@command("data", name="rotate")
@click.argument("id")
@click.option(
    "--overlap", default="24h", metavar="24h", help="How long the old secret is good; 0 for a leak."
)
def api_key_rotate(invocation: Invocation, id: str, overlap: str) -> None:
    """Give the API key a new secret, and show it: only this once.

    \b
      ferry admin apikey rotate 5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11
      ferry admin apikey rotate 5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11 --overlap 0
    """
    seconds = int(values.duration(overlap, "--overlap", least=0.0))
    with data_directory.registry(invocation) as registry:
        holder = registry.credentials.one(id).user
        made = registry.api_keys.rotate(holder, id, seconds, data_directory.actor())
    until = f"the old one is good until {date(made.old_until)}" if seconds else "the old one is revoked"
    document = {
        "id": id,
        "secret": made.secret,
        "expires": date(made.expires),
        "old_until": date(made.old_until),
    }
    invocation.terminal.secret(document, made.secret, f"the new secret of {id}, of {holder}; {until}")


apikey.add_command(api_key_list)
apikey.add_command(api_key_rotate)
apikey.add_command(api_key_revoke)
