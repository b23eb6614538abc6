"""How people come in by a browser: by a password or by a link that is good once; each ends in a session.

Nobody makes an account of their own: the first one is made by the link that `ferry serve` prints on an empty
data directory, every other one by an administrator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Engine, select

from registry.contracts import Actor, Clock, NewId
from registry.errors import DeniedError
from registry.server.accounts import ACCOUNT, Accounts, end_browsers, insert_account, new_account
from registry.server.audit import record
from registry.server.database import reading, writing
from registry.server.invitations import TO_CHOOSE, Invitations, Link, spend
from registry.server.passwords import Passwords, is_kept, put_password
from registry.server.principal import User
from registry.server.sessions import Sessions
from registry.server.tables import USERS
from registry.server.throttle import Throttle

_AT_A_LINK = "a link"  # stands for the account where nobody knows yet whose link it is


@dataclass(frozen=True, slots=True)
class SignIn:
    """The ways in to one database. `address` is always the browser's.

    Every method raises StorageError when the database fails, and TransientError for one guess too many.
    """

    engine: Engine
    clock: Clock
    new_id: NewId
    passwords: Passwords
    sessions: Sessions
    invitations: Invitations
    throttle: Throttle = field(default_factory=Throttle)

    @classmethod
    def over(cls, accounts: Accounts, sessions: Sessions, invitations: Invitations) -> SignIn:
        """The ways in to the database of `accounts`."""
        passwords = Passwords(accounts.engine)
        return cls(accounts.engine, accounts.clock, accounts.new_id, passwords, sessions, invitations)

    def by_password(self, name: str, password: str, address: str) -> str:
        """Sign in; the secret for the cookie. DeniedError, in the same words and time whatever was wrong.

        A password that was replaced while it was looked at is wrong too: its sessions have been ended.
        """
        try:
            proven = self.prove(name, password, address)
        except DeniedError:
            raise _wrong() from None
        with writing(self.engine) as database:
            row = database.execute(ACCOUNT.filter_by(name=name, disabled=False)).first()
            if row is None or not is_kept(database, row.id, proven):
                raise _wrong()
            return self.sessions.begin_in(database, User(*row), address)

    def prove(self, name: str, password: str, address: str) -> str:
        """Ask for the password of an account, also of one that is signed in; what is kept of it.

        DeniedError.
        """
        self.throttle.guess("password", name[:80], address)
        proven = self.passwords.proven(name, password)
        if not proven:
            self.throttle.wrong("password", address)
            raise _not_yours()
        self.throttle.right("password", name[:80], address)
        return proven

    def set_up(self, secret: str, name: str, password: str, address: str) -> str:
        """Make the first account, an administrator, and sign it in.

        DeniedError if the link is not good, or there is an administrator; InvalidError for a bad name or
        password.
        """
        self._check_link(secret, address, Link.SET_UP)
        kept = self.passwords.hashed(password, name)
        now = self.clock()
        user = new_account(name, self.new_id(), now, admin=True)
        with writing(self.engine) as database:
            spend(database, secret, (Link.SET_UP,), now)
            if database.execute(select(USERS.c.id).filter_by(admin=True).limit(1)).first():
                raise DeniedError("this registry has an administrator already", hint="sign in, or ask them")
            actor = Actor(name, "", address)
            insert_account(database, user, actor)
            put_password(database, user.id, kept, now)
            record(database, now, actor, "password.set", name)
            return self.sessions.begin_in(database, user, address)

    def by_invitation(self, secret: str, password: str, address: str) -> str:
        """Choose a password with a link, and sign in; every other browser of the account is signed out.

        DeniedError if the link is not good; InvalidError for a bad password.
        """
        user = self._check_link(secret, address, *TO_CHOOSE)
        assert user is not None
        kept = self.passwords.hashed(password, user.name)
        now = self.clock()
        with writing(self.engine) as database:
            spend(database, secret, TO_CHOOSE, now)
            end_browsers(database, user.id)
            put_password(database, user.id, kept, now)
            record(database, now, Actor(user.name, "", address), "password.set", user.name)
            return self.sessions.begin_in(database, user, address)

    def by_page_link(self, secret: str, address: str) -> str:
        """Sign in by the link that another credential of the account was given. DeniedError."""
        user = self._check_link(secret, address, Link.PAGE)
        assert user is not None
        with writing(self.engine) as database:
            spend(database, secret, (Link.PAGE,), self.clock())
            return self.sessions.begin_in(database, user, address)

    def change(self, user: User, old: str, new: str, actor: Actor, *, browser: bool) -> str:
        """Another password for who has one; the secret for the `browser`'s new cookie, "" where none asks.

        All of the account's browsers are signed out. DeniedError if `old` is wrong or there is none yet,
        InvalidError for a bad `new` one.
        """
        if not self.passwords.has(user.name):
            raise DeniedError(
                "you have no password yet", hint="an administrator can send you a link to choose one"
            )
        proven = self.prove(user.name, old, actor.address)
        kept = self.passwords.hashed(new, user.name)
        now = self.clock()
        with writing(self.engine) as database:
            if not is_kept(database, user.id, proven):
                raise _not_yours()
            end_browsers(database, user.id)
            put_password(database, user.id, kept, now)
            record(database, now, actor, "password.set", user.name)
            return self.sessions.begin_in(database, user, actor.address) if browser else ""

    def has_administrator(self) -> bool:
        """Whether there is one: then no link makes the first account any more."""
        with reading(self.engine) as database:
            return bool(database.execute(select(USERS.c.id).filter_by(admin=True).limit(1)).first())

    def _check_link(self, secret: str, address: str, *kinds: Link) -> User | None:
        """Whose link it is, before anything is computed for it. DeniedError."""
        self.throttle.guess("link", _AT_A_LINK, address)
        try:
            user = self.invitations.check(secret, *kinds)
        except DeniedError:
            self.throttle.wrong("link", address)
            raise
        self.throttle.right("link", _AT_A_LINK, address)
        return user


def _not_yours() -> DeniedError:
    return DeniedError("that is not your password")


def _wrong() -> DeniedError:
    return DeniedError("that is not the name and password of an account here")
