"""The one who asks: made by the guard from a request's head, read by what answers, said in the log."""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import Actor
from registry.server.names import Known
from registry.server.principal import ANYBODY, Principal, Right
from registry.server.sessions import BrowserSession
from registry.server.tokens import Scope
from registry.wire.messages import Context
from registry.wire.routes import Place


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for what: `right` is theirs in the repository of `place`, now.

    `here` is the server's own name as the client used it, `link` the path of the link they came by ("" for
    none), `access` what their token is for (None without one). `address` is where the request came from,
    behind proxies that are trusted. `session`: the browser's, if it is signed in. `publishes`: the
    repositories that a CI job's token is good for.
    """

    place: Place
    here: Known
    principal: Principal = ANYBODY
    right: Right = Right.NONE
    access: tuple[Scope, ...] | None = None
    link: str = ""
    address: str = ""
    session: BrowserSession | None = None
    publishes: tuple[str, ...] = ()

    @property
    def could_sign_in(self) -> bool:
        """Whether asking for a token may change the answer."""
        return self.access is None and self.principal == ANYBODY

    def covers(self, type: str, name: str, action: str) -> bool:
        """Whether the token they bring, if any, is for this."""
        return self.access is None or any(each.covers(type, name, action) for each in self.access)

    @property
    def actor(self) -> Actor:
        """The same for what is kept of a change."""
        return Actor(self.principal.name, self.principal.credential_id, self.address)

    def note(self, context: Context) -> None:
        """Have the log say who asked, and about which repository."""
        context.repository = self.place.repository or context.repository
        context.user, context.credential = self.principal.name, self.principal.credential_id
