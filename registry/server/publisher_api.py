"""The account API's rows for trusted publishers (README, "Account API"), and where jobs come for tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.server.documents import accept_object, answer, check_known, text_field
from registry.server.issuers import Issuer
from registry.server.publishers import Publisher
from registry.server.reading import date
from registry.server.table import Need, Row, Table
from registry.server.token_exchange import TokenExchange
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class PublisherApi:
    """Over the publishers of one registry. Who owns a repository or its namespace says who publishes it."""

    exchange: TokenExchange

    def rows(self) -> Table:
        """Its part of the table."""
        return {
            Route.EXCHANGE: {"POST": Row(Need.SIGNATURE, self.exchange.exchange)},
            Route.PUBLISHERS: {
                "GET": Row(Need.OWN, self.listed),
                "POST": Row(Need.OWN, self.add),
                "DELETE": Row(Need.OWN, self.remove),
            },
        }

    def listed(self, _request: Request, visitor: Visitor) -> Response:
        """Those of a repository, or of all in a namespace."""
        return answer(
            200, [document(each) for each in self.exchange.publishers.listed(visitor.place.repository)]
        )

    def add(self, _request: Request, visitor: Visitor) -> Accept:
        """Let the jobs that have these claims publish the repository."""
        return accept_object(partial(self._add, visitor))

    def _add(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "issuer", "audience", "claims", "ca", "jwks")
        claims = asked.get("claims")
        if not isinstance(claims, dict) or not all(isinstance(each, str) for each in claims.values()):
            raise InvalidError("claims is not an object of texts")
        issuer = Issuer.named(*(text_field(asked, name) for name in ("issuer", "ca", "jwks")))
        where, audience = visitor.place.repository, text_field(asked, "audience")
        made = add_publisher(self.exchange, visitor, where, issuer, claims, audience)
        return answer(201, document(made))

    def remove(self, request: Request, visitor: Visitor) -> Response:
        """From the next request on, its jobs may nothing any more."""
        remove_publisher(self.exchange, visitor, request.parameter("id") or "")
        return Response(204)


def add_publisher(
    exchange: TokenExchange,
    visitor: Visitor,
    repository: str,
    issuer: Issuer,
    claims: Mapping[str, str],
    audience: str = "",
) -> Publisher:
    """Add one to a repository, which `visitor` owns; what only an administrator may is refused."""
    user = visitor.principal.user
    admin = user is not None and user.admin
    if (issuer.ca or issuer.jwks) and not admin:
        raise DeniedError("an issuer's certificates and keys are an administrator's to name")
    made = exchange.publishers.add(repository, issuer, claims, audience, visitor.actor, new_issuer=admin)
    exchange.issuers.look(exchange.publishers.issuers_in_use())
    return made


def remove_publisher(exchange: TokenExchange, visitor: Visitor, id: str) -> None:
    """Remove one of the repository or namespace of `visitor`, who owns it. NotFoundError."""
    there = exchange.publishers.listed(visitor.place.repository)
    if id not in {each.id for each in there}:
        raise NotFoundError(f"{visitor.place.repository} has no publisher {id[:40]}")
    exchange.publishers.remove(id, visitor.actor)


def document(publisher: Publisher) -> dict[str, object]:
    """A publisher as the account API shows it."""
    return {
        "id": publisher.id,
        "repository": publisher.repository,
        "issuer": publisher.issuer,
        "audience": publisher.audience or None,
        "claims": dict(publisher.claims),
        "created": date(publisher.created),
    }
