"""The authorisation table's part for teams: what is asked of an organisation, and who is in one.

`guild` is an organisation, and `fresh` another one, and a service account: each request finds them there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from authorisation_who import Who
from guarded import Door, key

from registry.auth.keys import PrivateKey
from registry.errors import InvalidError
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.wire.routes import Route

GUILD = "guild"
OF_TEAMS = ("/api/organisations", "/api/services", "/api/immutable")
PEOPLE: dict[str, tuple[PrivateKey, Right]] = {
    "role-reader": (key(101), Right.READ),
    "role-writer": (key(102), Right.WRITE),
    "role-owner": (key(103), Right.OWNER),
    "leaver": (key(104), Right.WRITE),
}

# Route and path, and for each method who may and the status they get: `somebody` with an account, who `reads`
# the namespace, who `owns` it, an `admin`. None is not asked: it would end what the others need.
Need = tuple[str, int]
TEAM: tuple[tuple[Route, str, dict[str, Need | None]], ...] = (
    (Route.ORGANISATIONS, "/api/organisations", {"GET": ("somebody", 200), "POST": ("admin", 201)}),
    (Route.ORGANISATION, "/api/organisations/guild", {"GET": ("reads", 200), "DELETE": None}),
    (Route.ORGANISATION, "/api/organisations/fresh", {"GET": ("reads", 200), "DELETE": ("admin", 204)}),
    (
        Route.MEMBER,
        "/api/organisations/guild/members/friend",
        {"PUT": ("owns", 204), "DELETE": ("owns", 204)},
    ),
    (Route.SERVICES, "/api/services/guild", {"GET": ("owns", 200), "POST": ("owns", 201)}),
    (Route.SERVICE, "/api/services/guild/fresh", {"DELETE": ("owns", 204)}),
    (Route.SERVICE_KEYS, "/api/services/guild/fresh/keys", {"POST": ("owns", 201)}),
    (
        Route.IMMUTABLE,
        "/api/immutable/guild?pattern=zz",
        {"GET": ("reads", 200), "POST": ("owns", 201), "DELETE": ("owns", 204)},
    ),
)


def team_status(who: Who, method: str, target: str, row: Need) -> int:
    """The status of a request for one of these, by who may."""
    need, status = row
    in_namespace = target != "/api/organisations"
    if who.comes == "job":  # where it has no publisher it is anybody
        return 401 if in_namespace else 403
    if who.comes.startswith("service"):
        return 403
    if who.comes not in ("machine", "key", "key token", "session"):
        return 401
    if who.comes.startswith("key") and (method != "GET" or need == "owns"):
        return 403
    if in_namespace and not (who.guild and (who.user == "admin" or target != "/api/organisations/fresh")):
        return 404
    may = need in ("somebody", "reads") or who.user == "admin" or (need == "owns" and who.guild == "own")
    return status if may else 403


def team_cells(who: Who, method: str) -> Iterator[tuple[str, int]]:
    """The path and status of each of them."""
    for _, target, needs in TEAM:
        row = needs.get(method, ("", 405))
        if row is not None:
            yield target, row[1] if row[1] == 405 else team_status(who, method, target, row)


def with_teams(door: Door, former: str) -> tuple[dict[str, str], dict[str, str]]:
    """Organisations and service accounts; by each principal's name the token, and the API key, of theirs.

    The roles of the organisation guild are those that the same people have in acme. Then what ends for some
    of them has ended. `former`: the key of a service account in acme, before that was removed and made anew.
    """
    door.organisations.add(GUILD)
    for name, (machine, role) in PEOPLE.items():
        door.join(name, machine)
        door.rights.grant(name, "acme", role)
        door.organisations.set_role(GUILD, name, role)
    scopes = [f"repository:acme/{name}:pull,push,delete" for name in ("private", "public", "missing")]
    everything = [*scopes, "registry:catalog:*", "registry:account:*"]
    tokens = {name: door.token(machine, *everything) for name, (machine, _) in PEOPLE.items()}
    keys = {f"{name}'s *:*": _key(door, name) for name in PEOPLE}
    door.rights.ungrant("leaver", "acme")
    door.organisations.set_role(GUILD, "leaver", Right.NONE)
    keys["service reader"] = door.service_key("acme/reads", Right.READ)
    keys["service writer"] = door.service_key("acme/writes", Right.WRITE)
    narrow = door.api_keys.create(door.services.one("acme/writes"), parse_scopes(["acme/private:push"]))
    keys["service writer, acme/private:push"] = narrow.secret
    keys["service writer of guild"] = door.service_key("guild/bot", Right.WRITE)
    mend_teams(door)
    return tokens, {**keys, **_over(door), "service of former owner": former}


def _over(door: Door) -> dict[str, str]:
    """Keys of service accounts that are good no more."""
    keys = {"service of disabled": door.service_key("disabled/ci", Right.WRITE)}
    keys["service revoked"] = door.service_key("acme/revoked", Right.WRITE)
    door.services.revoke("acme/revoked")
    door.services.add("acme/revoked", Right.WRITE)
    made = door.api_keys.create(door.services.one("acme/writes"), parse_scopes(["*:*"]))
    keys["service's key revoked"] = made.secret
    door.credentials.revoke("acme/writes", made.id)
    door.organisations.add("ended")
    keys["service of removed organisation"] = door.service_key("ended/ci", Right.WRITE)
    door.organisations.remove("ended")
    door.organisations.add("ended")
    door.services.add("ended/ci", Right.WRITE)
    return keys


def _key(door: Door, user: str) -> str:
    return door.api_keys.create(door.accounts.user(user), parse_scopes(["*:*"])).secret


def body_for_team(method: str, target: str, number: int) -> bytes:
    """The body of a request for one of these."""
    match method, target.split("/")[2]:
        case "PUT", _:
            return b'{"role":"reader"}'
        case "POST", ("organisations" | "services") if not target.endswith("/keys"):
            return json.dumps({"name": f"made-{number}"}).encode()
        case "POST", "immutable":
            return b'{"pattern":"zz"}'
    return b""


def mend_teams(door: Door) -> None:
    """Make what the requests are about, also again after one of them has ended it."""
    with suppress(InvalidError):
        door.organisations.add("fresh")
    with suppress(InvalidError):
        door.services.add(f"{GUILD}/fresh", Right.READ)
    door.organisations.set_role(GUILD, "friend", Right.READ)
    door.immutable.add(GUILD, "zz")
