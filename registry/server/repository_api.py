"""The account API's half of what there is: repositories, who may see them, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

from registry.contracts import Depot
from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.server.documents import accept_object, answer, check_known, text_field
from registry.server.namespaces import namespace_of
from registry.server.overview import ManifestSummary, Overview, RepositorySummary, TagSummary
from registry.server.principal import Principal, Right
from registry.server.reading import date, page_limit
from registry.server.removal import delete_model
from registry.server.rights import Grant, Rights
from registry.server.table import Need, Row, Table
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_PAGE = 100  # the most entries of one page: each has to be counted


@dataclass(frozen=True, slots=True)
class RepositoryApi:
    """Over what one registry keeps, and who may what there."""

    depot: Depot
    rights: Rights
    overview: Overview

    def rows(self) -> Table:
        """Its part of the table."""
        return {
            Route.REPOSITORIES: {"GET": Row(Need.ACCOUNT, self.readable)},
            Route.REPOSITORY: {
                "GET": Row(Need.ACCOUNT, self.one),
                "PATCH": Row(Need.OWN, self.change),
                "DELETE": Row(Need.MANAGE, self.delete),
            },
            Route.MANIFESTS: {"GET": Row(Need.ACCOUNT, self.manifests)},
            Route.SHARES: {"GET": Row(Need.OWN, self.shares)},
            Route.SHARE: {"PUT": Row(Need.OWN, self.share), "DELETE": Row(Need.OWN, self.take_back)},
        }

    def readable(self, request: Request, visitor: Visitor) -> Response:
        """What one may read, a page of it; `Link` leads to the next (RFC 8288)."""
        limit, after = min(page_limit(request), _PAGE), request.parameter("last") or ""
        who = visitor.principal
        judge = self.rights.judge(who)
        names = self.depot.repositories(after, limit + 1, lambda name: judge(name) >= Right.READ)
        found = self.overview.repositories(names[:limit])
        owns = cache(partial(self._shares, who))
        documents = [_document(each, judge(each.name), owns(namespace_of(each.name))) for each in found]
        more = limit and len(names) > limit
        return answer(200, documents, _next(routes.repositories(names[limit - 1], limit)) if more else ())

    def one(self, request: Request, visitor: Visitor) -> Response:
        """One of them with a page of its tags; to who may share it, with whom it is shared."""
        limit, after = min(page_limit(request), _PAGE), request.parameter("last") or ""
        name, who = visitor.place.repository.lower(), visitor.principal
        found = self.overview.repositories([name])
        if not found:
            raise _not_here(name)
        tags = self.overview.tags(name, after, limit + 1)
        owns = self._shares(who, name)
        document = _document(found[0], visitor.right, owns)
        document["tags"] = [_tag(each) for each in tags[:limit]]
        if owns:
            document["shares"] = [_share(each) for each in self.rights.grants_in(name)]
        more = limit and len(tags) > limit
        following = _next(routes.repository(name, tags[limit - 1].tag, limit)) if more else ()
        return answer(200, document, following)

    def change(self, _request: Request, visitor: Visitor) -> Accept:
        """Let anybody read it, or those with a share only."""
        return accept_object(partial(self._change, visitor))

    def _change(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "visibility")
        name, wanted = visitor.place.repository.lower(), text_field(asked, "visibility")
        if wanted not in ("private", "public"):
            raise InvalidError("visibility is private or public")
        there = self.rights.set_public(name, wanted == "public", visitor.actor)
        return answer(200, {"name": name, "visibility": wanted, "there": there})

    def delete(self, _request: Request, visitor: Visitor) -> Response:
        """Every manifest of a repository, by a tag or without one, for who may write there."""
        name = visitor.place.repository.lower()
        if visitor.right < Right.WRITE:
            raise DeniedError(f"you may not change {name}")
        if not self.overview.repositories([name]):
            raise _not_here(name)
        delete_model(self.depot, self.overview, self.rights, name, visitor.actor)
        return Response(204)

    def manifests(self, request: Request, visitor: Visitor) -> Response:
        """The manifests of a repository, also those that no tag stands for, a page of them."""
        limit, after = min(page_limit(request), _PAGE), request.parameter("last") or ""
        name = visitor.place.repository.lower()
        if not self.overview.repositories([name]):
            raise _not_here(name)
        found = self.overview.manifests(name, after, limit + 1)
        more = limit and len(found) > limit
        following = _next(routes.manifests(name, found[limit - 1].digest, limit)) if more else ()
        return answer(200, [_manifest(each) for each in found[:limit]], following)

    def shares(self, _request: Request, visitor: Visitor) -> Response:
        """With whom a namespace or repository is shared, and what is around it."""
        return answer(200, [_share(each) for each in self.rights.grants_in(visitor.place.repository)])

    def share(self, _request: Request, visitor: Visitor) -> Accept:
        """What somebody may do in a repository or namespace; `none` closes it to them."""
        return accept_object(partial(self._share, visitor))

    def _share(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "right")
        right = Right.parse(text_field(asked, "right", "nothing"))
        place = visitor.place
        by_admin = visitor.principal.is_admin
        self.rights.grant(place.reference, place.repository, right, visitor.actor, ownerless=by_admin)
        return Response(204)

    def take_back(self, _request: Request, visitor: Visitor) -> Response:
        """Forget what was said of somebody there; then what is said of the namespace holds."""
        place = visitor.place
        by_admin = visitor.principal.is_admin
        self.rights.ungrant(place.reference, place.repository, visitor.actor, ownerless=by_admin)
        return Response(204)

    def _shares(self, who: Principal, name: str) -> bool:
        """Whether they may share it: its owner, and no program."""
        return not who.by_api_key and self.rights.owns(who, name)


def _document(each: RepositorySummary, right: Right, owns: bool) -> dict[str, object]:
    return {
        "name": each.name,
        "visibility": "public" if each.public else "private",
        "right": "owner" if owns else right.name.lower(),
        "modified": None if each.modified is None else date(each.modified),
        "by": each.by,
        "tags": each.tags,
        "size": each.size,
    }


def _tag(each: TagSummary) -> dict[str, object]:
    return {
        "tag": each.tag,
        "digest": each.digest,
        "modified": date(each.modified),
        "by": each.by,
        "size": each.size,
    }


def _manifest(each: ManifestSummary) -> dict[str, object]:
    return {
        "digest": each.digest,
        "media_type": each.media_type,
        "published": date(each.published),
        "tags": each.tags,
        "size": each.size,
    }


def _share(each: Grant) -> dict[str, object]:
    return {"user": each.user, "right": each.right.name.lower(), "scope": each.scope}


def _not_here(name: str) -> NotFoundError:
    return NotFoundError(f"{name} is not here, or not for you to see")


def _next(path: str) -> tuple[tuple[str, str], ...]:
    return (("Link", f'<{path}>; rel="next"'),)
