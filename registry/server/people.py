"""Who has an account, as administrators see and change it: invited, given a new password, shut out, removed.

The pages and the account API do the same by this. Nobody does it to their own account, so one is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import Actor
from registry.errors import InvalidError
from registry.server.accounts import Accounts
from registry.server.invitations import Invitations
from registry.server.passwords import Passwords
from registry.server.principal import User


@dataclass(frozen=True, slots=True)
class Person:
    """An account in the list; `invited`: until when (Unix seconds) its link to choose a password is good."""

    user: User
    has_password: bool
    invited: float | None


@dataclass(frozen=True, slots=True)
class People:
    """The accounts of one registry. All methods raise StorageError; those with a name, NotFoundError."""

    accounts: Accounts
    passwords: Passwords
    invitations: Invitations

    def listed(self) -> list[Person]:
        """Everybody, by name."""
        having, pending = self.passwords.names(), self.invitations.pending()
        return [Person(each, each.name in having, pending.get(each.name)) for each in self.accounts.users()]

    def one(self, name: str) -> Person:
        """The account of that name."""
        user = self.accounts.user(name)
        return Person(user, self.passwords.has(name), self.invitations.pending().get(name))

    def invite(self, name: str, actor: Actor, *, admin: bool = False) -> str:
        """The path of the link where `name` chooses the first password; the account is made if there is none.

        InvalidError if the name cannot be an account's, or the account is disabled or has a password.
        """
        return self.invitations.invite(name, actor, admin=admin)

    def link(self, name: str, actor: Actor) -> str:
        """The path of a link where an account that is there chooses a password. InvalidError if disabled."""
        if self.one(name).has_password:
            return self.invitations.reset(name, actor)
        return self.invitations.invite(name, actor)

    def take_back(self, name: str, actor: Actor) -> None:
        """End the link that `name` could choose a password with. NotFoundError for none, too."""
        self.invitations.take_back(name, actor)

    def enable(self, name: str, actor: Actor) -> None:
        """Let an account in again."""
        self.accounts.enable(name, actor)

    def disable(self, name: str, actor: Actor) -> None:
        """Refuse every browser and credential of an account. InvalidError for one's own."""
        _check_another(name, actor)
        self.accounts.disable(name, actor)

    def remove(self, name: str, actor: Actor) -> bool:
        """End an account; whether models of it stay. InvalidError for one's own."""
        _check_another(name, actor)
        return self.accounts.remove(name, actor)


def _check_another(name: str, actor: Actor) -> None:
    if name == actor.user:
        raise InvalidError("you cannot do that to your own account")
