"""The pages of models: which one may see, what is in each, who may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.contracts import Depot
from registry.server.pages.html import Templates
from registry.server.principal import Readers
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Request, Response
from registry.wire.routes import Route

_PAGE = 100  # models on one page


@dataclass(frozen=True, slots=True)
class Models:
    """The pages over what `depot` keeps and `rights` allow."""

    templates: Templates
    depot: Depot
    rights: Readers

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {Route.MODELS_PAGE: {"GET": Row(Need.PAGE, self.list)}}

    def list(self, request: Request, visitor: Visitor) -> Response:
        after = request.parameter("after") or ""
        names = self.depot.repositories(after, _PAGE + 1, self.rights.reader(visitor.principal))
        values = {"names": names[:_PAGE], "after": names[_PAGE - 1] if len(names) > _PAGE else ""}
        return self.templates.page("models.html", visitor, values)
