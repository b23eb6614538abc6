"""The principals of the authorisation table: how each of them comes, and what they may in three repositories.

Written down by hand and never asked of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# How a principal comes, in the order of the columns below: without anything; with a token for anybody; with a
# token that is not good; an API key that is not good; a token for a machine's key, or one that is for other
# repositories; with an API key; a token for one; the cookie of a session. A `job` comes with a token of its
# own, and has a column of its own below. A `service` brings the API key of one, or a token for that.
COMES = ("nobody", "anybody", "bad token", "bad key", "machine", "astray", "key", "key token", "session")


@dataclass(frozen=True)
class Who:
    """A principal: how they come, and as which account. `may`: p pull, w push, d delete, by repository."""

    name: str
    comes: str
    user: str = ""
    may: tuple[str, str, str] = ("", "p", "")
    owns: bool = False
    asked: str = ""  # what a job's token is for, at most: p, w, and i to read who it is
    guild: str = ""  # what they are in the organisation guild: read, or own


ALL, READS = ("pwd",) * 3, ("p", "p", "")
PUBLIC = ("", "p", "")
_BAD_TOKENS = (
    *("disabled", "revoked", "disconnected", "former owner", "token over", "token not yet"),
    *("other audience", "other server", "tampered", "alg none", "public key as secret", "alg RS256"),
    *("download link", "signature as token", "garbage"),
    *("job of a removed publisher", "job of another server", "job, its token over"),
)
_BAD_KEYS = (
    *("key revoked", "key over", "key of disabled", "key of former owner", "key replaced", "old secret over"),
    *("key of another server", "key mistyped"),
    *("service revoked", "service's key revoked", "service of former owner", "service of disabled"),
    *("service of removed organisation",),
)
# API keys that are good, by account and what may be done with them; the name says their scopes.
_GOOD_KEYS = (
    Who("owner's acme/*:*", "key", "acme", ALL),
    Who("owner's acme/*:pull", "key", "acme", ("p",) * 3),
    Who("owner's acme/*:push", "key", "acme", ("pw",) * 3),
    Who("owner's acme/*:delete", "key", "acme", ("pd",) * 3),
    Who("owner's acme/private:push", "key", "acme", ("pw", "p", "")),
    Who("owner's elsewhere/*:*", "key", "acme", PUBLIC),
    Who("owner's old secret", "key", "acme", ALL),
    Who("reader's *:*", "key", "reader", READS),
    Who("writer's *:*", "key", "writer", ALL),
    Who("stranger's *:*", "key", "stranger", PUBLIC),
    Who("heir's *:*", "key", "heir", PUBLIC),
    Who("admin's acme/private:*", "key", "admin", ("pwd", "p", "")),
    Who("admin's *:pull", "key", "admin", ("p",) * 3, guild="read"),
    Who("role-reader's *:*", "key", "role-reader", ("p",) * 3, guild="read"),
    Who("role-writer's *:*", "key", "role-writer", ALL, guild="read"),
    Who("role-owner's *:*", "key", "role-owner", ALL, guild="own"),
    Who("leaver's *:*", "key", "leaver", PUBLIC),
)
# Service accounts, of acme but for the last; the name says their role, or the scopes of their key.
_SERVICES = (
    Who("service reader", "service", may=("p",) * 3),
    Who("service writer", "service", may=ALL),
    Who("service writer, acme/private:push", "service", may=("pw", "p", "")),
    Who("service writer of guild", "service", may=PUBLIC),
)
_JOBS = (
    Who("job of everything", "job", may=("pw",) * 3, asked="pw"),
    Who("job of acme/private", "job", may=("pw", "p", ""), asked="pw"),
    Who("job of everything, to pull", "job", may=("pw",) * 3, asked="p"),
    Who("job of everything, who it is", "job", may=("pw",) * 3, asked="pwi"),
)
PRINCIPALS = (
    *_JOBS,
    Who("nobody", "nobody"),
    Who("anybody's token", "anybody"),
    Who("stranger", "machine", "stranger"),
    Who("reader", "machine", "reader", READS),
    Who("writer", "machine", "writer", ALL),
    Who("owner", "machine", "acme", ALL, owns=True),
    Who("admin", "machine", "admin", ALL, owns=True, guild="own"),
    Who("role-reader", "machine", "role-reader", ("p",) * 3, guild="read"),
    Who("role-writer", "machine", "role-writer", ALL, guild="read"),
    Who("role-owner", "machine", "role-owner", ALL, owns=True, guild="own"),
    Who("leaver", "machine", "leaver"),  # could write before they left
    Who("heir", "machine", "heir"),  # could write before the namespace was removed, and made again
    Who("owner, for other repositories", "astray", "acme", ALL),
    Who("stranger, for other repositories", "astray", "stranger"),
    *(Who(name, "bad token") for name in _BAD_TOKENS),
    *(Who(f"{name}, {how}", "bad key") for name in _BAD_KEYS for how in ("Bearer", "Basic")),
    *(replace(each, name=f"{each.name}, {how}") for each in _GOOD_KEYS for how in ("Bearer", "Basic")),
    *(replace(each, name=f"{each.name}, token", comes="key token") for each in _GOOD_KEYS),
    *(replace(each, name=f"{each.name}, {how}") for each in _SERVICES for how in ("Bearer", "Basic")),
    *(replace(each, name=f"{each.name}, token", comes="service token") for each in _SERVICES),
    Who("session of stranger", "session", "stranger"),
    Who("session of reader", "session", "reader", READS),
    Who("session of owner", "session", "acme", ALL, owns=True),
    Who("session of admin", "session", "admin", ALL, owns=True, guild="own"),
    Who("session of role-reader", "session", "role-reader", ("p",) * 3, guild="read"),
    Who("session of role-writer", "session", "role-writer", ALL, guild="read"),
    Who("session of role-owner", "session", "role-owner", ALL, owns=True, guild="own"),
    Who("session of leaver", "session", "leaver"),
)
