"""The administrators' pages of what happened, and of how the registry is: audit, storage, health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import Engine

from registry.server.audit import latest
from registry.server.health import Health
from registry.server.pages.html import Templates
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Request, Response
from registry.wire.routes import Route

_PAGE = 100  # changes on one page


@dataclass(frozen=True, slots=True)
class Administration:
    """The pages over one registry."""

    templates: Templates
    engine: Engine
    health: Health

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.AUDIT_PAGE: {"GET": Row(Need.ADMINISTRATOR, self.audit)},
            Route.SYSTEM_PAGE: {"GET": Row(Need.ADMINISTRATOR, self.system)},
        }

    def audit(self, request: Request, visitor: Visitor) -> Response:
        """What was changed, the newest first, of one repository or account or all."""
        repository, user = (
            (request.parameter(name) or "").strip().lower()[:255] for name in ("repository", "user")
        )
        before = request.parameter("before") or ""
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else 0
        found = latest(self.engine, before=number, repository=repository, user=user, limit=_PAGE + 1)
        asked = {"repository": repository, "user": user}
        older = urlencode({**asked, "before": found[_PAGE - 1].id}) if len(found) > _PAGE else ""
        values = {"entries": found[:_PAGE], "older": older, "repository": repository, "account": user}
        return self.templates.page("audit.html", visitor, values)

    def system(self, _request: Request, visitor: Visitor) -> Response:
        """How much is kept, how much room is left, and what is wrong."""
        numbers = self.health.numbers()
        values = {
            "numbers": {name: value for name, (_, value) in numbers.items()},
            "others": sorted((what, value) for name, (what, value) in numbers.items() if name not in _SHOWN),
            "problems": self.health.problems(numbers),
            "least": self.health.room.least,
        }
        return self.templates.page("system.html", visitor, values)


# What has a place of its own on the page.
_SHOWN = frozenset(
    {
        "ferry_disk_free_bytes",
        "ferry_blob_bytes",
        "ferry_blobs",
        "ferry_repositories",
        "ferry_tags",
        "ferry_manifests",
        "ferry_uploads",
        "ferry_connections",
        "ferry_scrub_damaged",
    }
)
