"""A key that waits is let speak for an account, by who proves to hold both: the machine and the account.

The code that the machine shows proves the one, the password the other (PROTOCOL section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.auth.keys import PublicKey
from registry.contracts import Actor
from registry.errors import DeniedError
from registry.server.connecting import Asked, Connecting
from registry.server.credentials import CredentialStore, Key
from registry.server.principal import User
from registry.server.sign_in import SignIn
from registry.wire.faults import printable

CLAIM = 80  # characters of what a machine says it is called


@dataclass(frozen=True, slots=True)
class Approval:
    """Of the keys that wait at one registry. All methods raise StorageError when the database fails."""

    sign_in: SignIn
    credentials: CredentialStore
    connecting: Connecting

    def waiting(self, key: PublicKey) -> Asked:
        """What is known of a key that has asked a short while ago. DeniedError for another one."""
        asked = self.connecting.find(key)
        if asked is None:
            raise DeniedError("this key has not asked within the last 10 minutes")
        return asked

    def approve(
        self, user: User, key: PublicKey, name: str, *, code: str, password: str, actor: Actor
    ) -> Key:
        """Let the key speak for `user`; `name` is what its machine says it is called.

        A key whose client shows no code needs none: what asks for the approval has said what that means.
        DeniedError, TransientError for one guess too many, InvalidError for a key that was somebody's.
        """
        asked, address = self.waiting(key), actor.address
        self.sign_in.throttle.guess("code", user.name, address)
        if asked.shows_code and not self.connecting.is_code(key, code):
            self.sign_in.throttle.wrong("code", address)
            raise DeniedError("that is not the code that the machine shows")
        self.sign_in.prove(user.name, password, address)
        self.sign_in.throttle.right("code", user.name, address)
        added = self.credentials.add_key(user.name, key, actor, printable(name)[:CLAIM])
        self.connecting.settle(key)
        return added
