"""Trusted publishers of an embedded registry, in its data directory: whose CI jobs publish a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import data_directory
from cli.groups import Group
from cli.options import Invocation, command
from cli.render import visible
from cli.settings import files
from registry.errors import InvalidError

if TYPE_CHECKING:
    from registry.server.publishers import Publisher


@click.group(cls=Group)
def publisher() -> None:
    """Trusted publishers: CI jobs that need no secret.

    \b
      ferry admin publisher add acme/tiny --issuer https://ci.corp --claim sub=ml
      ferry admin publisher list
    """


@command("data", name="add")
@click.argument("repository", metavar="NAMESPACE/MODEL")
@click.option("--issuer", metavar="URL", required=True, help="Who signs the jobs' ID tokens (iss).")
@click.option("--claim", "claims", metavar="K=V", multiple=True, help="What they say, exactly; repeated.")
@click.option("--audience", metavar="A", default="", help="Whom they are for [this registry's URL].")
@click.option("--ca", metavar="FILE", help="The issuer's own certificate authority (PEM).")
@click.option("--jwks", metavar="URL", default="", help="Its keys, if it does not say where.")
def publisher_add(
    invocation: Invocation,
    repository: str,
    issuer: str,
    claims: tuple[str, ...],
    audience: str,
    ca: str | None,
    jwks: str,
) -> None:
    """Let CI jobs with these claims pull and push a model.

    \b
      ferry admin publisher add lab/big --issuer https://ci.corp --claim sub=lab
      ferry admin publisher add acme/tiny --issuer https://ci.corp --claim sub=ml
    """
    with data_directory.registry(invocation) as registry:
        from registry.server.issuers import Issuer

        known = Issuer.named(issuer, files.certificates(Path(ca)) if ca else "", jwks)
        said = _parsed(claims)
        actor = data_directory.actor()
        made = registry.publishers.add(repository, known, said, audience, actor, new_issuer=True)
    told = ", ".join(f"{name} is {value}" for name, value in _claims(made).items())
    line = f"jobs of {made.issuer} publish {made.repository} where {told} (publisher {made.id})"
    invocation.terminal.answer(_document(made), visible(line))


@command("data", name="list")
@click.argument("where", metavar="[NAMESPACE[/MODEL]]", required=False)
def publisher_list(invocation: Invocation, where: str | None) -> None:
    """List the trusted publishers, all or those of a namespace or model.

    \b
      ferry admin publisher list
      ferry admin publisher list acme --format json
    """
    with data_directory.registry(invocation) as registry:
        found = registry.publishers.listed(where or "")
    claims = [" ".join(f"{name}={value}" for name, value in _claims(each).items()) for each in found]
    below = [f"{each.issuer}  {said}" for each, said in zip(found, claims, strict=True)]
    rows = [(each.id, each.repository) for each in found]
    invocation.terminal.listing([_document(each) for each in found], ("ID", "MODEL"), rows, below)


@command("data", name="remove")
@click.argument("id", metavar="ID|ISSUER")
def publisher_remove(invocation: Invocation, id: str) -> None:
    """End a publisher, or all of an issuer, from now on.

    That issuer is known no more then, until an administrator names it anew.

    \b
      ferry admin publisher remove 5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11
      ferry admin publisher remove https://ci.corp
    """
    if "://" in id:
        _forget(invocation, id)
        return
    with data_directory.registry(invocation) as registry:
        gone = registry.publishers.remove(id, data_directory.actor())
    line = f"jobs of {gone.issuer} do not publish {gone.repository} any more by {gone.id}"
    invocation.terminal.answer({**_document(gone), "removed": True}, line)


def _forget(invocation: Invocation, issuer: str) -> None:
    with data_directory.registry(invocation) as registry:
        gone = registry.publishers.forget(issuer, data_directory.actor())
    said = ", ".join(dict.fromkeys(each.repository for each in gone)) or "nothing"
    document = {"issuer": issuer, "publishers": [_document(each) for each in gone], "removed": True}
    invocation.terminal.answer(document, visible(f"jobs of {issuer} publish no more; they did: {said}"))


def _parsed(claims: tuple[str, ...]) -> Mapping[str, str]:
    """`K=V`, several. InvalidError, also for one that is said twice."""
    found: dict[str, str] = {}
    for each in claims:
        name, equals, value = each.partition("=")
        if not equals or name in found:
            raise InvalidError(f"--claim {each[:80]}: not K=V, or said twice", hint="--claim project_id=74")
        found[name] = value
    return found


def _claims(publisher: Publisher) -> Mapping[str, str]:
    """What a token has to say; its audience, where it is another than the registry's own address."""
    return {**({"aud": publisher.audience} if publisher.audience else {}), **publisher.claims}


def _document(publisher: Publisher) -> dict[str, object]:
    return {
        "id": publisher.id,
        "repository": publisher.repository,
        "issuer": publisher.issuer,
        "claims": dict(_claims(publisher)),
    }


for one in (publisher_add, publisher_list, publisher_remove):
    publisher.add_command(one)
