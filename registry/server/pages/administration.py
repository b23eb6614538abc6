"""The administrators' pages of what happened, and of how the registry is: audit, storage, health."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import Engine

from registry.errors import StorageError
from registry.server.audit import latest
from registry.server.pages.html import Templates
from registry.server.room import Room
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Request, Response
from registry.wire.routes import Route

_PAGE = 100  # changes on one page

Numbers = Mapping[str, tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Administration:
    """The pages over one registry; `numbers` says what is true of it just now, as its metrics do."""

    templates: Templates
    engine: Engine
    room: Room
    numbers: Callable[[], Numbers]

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
        numbers = self.numbers()
        values = {
            "numbers": {name: value for name, (_, value) in numbers.items()},
            "others": sorted((what, value) for name, (what, value) in numbers.items() if name not in _SHOWN),
            "problems": self._problems(numbers),
            "least": self.room.least,
        }
        return self.templates.page("system.html", visitor, values)

    def _problems(self, numbers: Numbers) -> list[str]:
        """What somebody has to see to, a sentence each."""
        problems = []
        try:
            self.room.check()
        except StorageError as error:
            problems.append(f"{error.message}. Pulls go on; delete models, or make the disk larger.")
        damaged = int(numbers.get("ferry_scrub_damaged", ("", 0.0))[1])
        if damaged:
            problems.append(f"{damaged} blobs are missing or damaged: ferry admin check --hash names them.")
        return problems


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
