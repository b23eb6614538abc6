"""How people get a password: links that are good once, printed for an administrator to send."""

from __future__ import annotations

from pathlib import Path

import click

from cli import data_directory
from cli.options import Invocation, command
from cli.render import date
from registry.errors import InvalidError


@command("data", name="invite")
@click.argument("name")
@click.option("--admin", "is_admin", is_flag=True, help="An account that is made may do everything.")
def user_invite(invocation: Invocation, name: str, is_admin: bool) -> None:
    """Print a link where NAME chooses a password.

    It is good once, for 24 hours. The account is made if there is none.

    \b
      ferry admin user invite ada
      ferry admin user invite root --admin --data /srv/ferry
    """
    with data_directory.registry(invocation) as registry:
        base = _base(registry.depot.directory)
        path = registry.invitations.invite(name, data_directory.actor(), admin=is_admin)
    _tell(invocation, name, base + path, registry.invitations.clock())


@command("data", name="reset")
@click.argument("name")
def user_reset(invocation: Invocation, name: str) -> None:
    """Print a link where NAME chooses another password.

    It is good once, for 24 hours. The old password is good until then.

    \b
      ferry admin user reset ada
      ferry admin user reset ada --data /srv/ferry
    """
    with data_directory.registry(invocation) as registry:
        base = _base(registry.depot.directory)
        path = registry.invitations.reset(name, data_directory.actor())
    _tell(invocation, name, base + path, registry.invitations.clock())


def _base(directory: Path) -> str:
    """What the server on this data is called, as it noted itself. InvalidError if it never ran."""
    from registry.server.directory import noted_url

    base = noted_url(directory)
    if not base:
        raise InvalidError(
            f"nobody knows yet what the server on {directory} is called, so no link can be made",
            hint="start it once: ferry serve --data DIR",
        )
    return base


def _tell(invocation: Invocation, name: str, url: str, now: float) -> None:
    from registry.server.invitations import SECONDS, Link

    if invocation.terminal.json:
        expires = date(now + SECONDS[Link.INVITE])
        invocation.terminal.document({"name": name, "url": url, "expires": expires})
    else:
        invocation.terminal.line(f"send this to {name}; it is good once, for 24 hours:")
        invocation.terminal.line(f"  {url}")
