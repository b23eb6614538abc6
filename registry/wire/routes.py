"""The paths of the registry API, built by the client and read by the server from one table.

OCI distribution specification 1.1, "Endpoints"; the token and account paths are ours and Ollama's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from urllib.parse import quote, unquote

from registry.errors import InvalidError
from registry.model.digests import Digest

_REPOSITORY = r"(?P<repository>[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)"
_NAMESPACE = r"(?P<repository>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
_REFERENCE = r"(?P<reference>[^/]{1,255})"
_ACCOUNT = r"(?P<reference>[a-z0-9_-]{1,80})"
_CREDENTIAL = r"/api/credentials/(?P<reference>[A-Za-z0-9-]{1,64})"


class Route(Enum):
    """Every path the embedded registry answers; the value is its pattern."""

    ROOT = r"/"
    BASE = r"/v2/?"
    CATALOG = r"/v2/_catalog"
    TOKEN = r"/v2/token"
    EXCHANGE = r"/oauth/token"
    ME = r"/api/me"
    SIGNOUT = r"/api/signout"
    ACCOUNT = r"/api/account"
    CREDENTIALS = r"/api/credentials"
    REVOKE_SECRET = r"/api/credentials/revoke"
    CREDENTIAL = _CREDENTIAL
    ROTATE = rf"{_CREDENTIAL}/rotate"
    MACHINE = r"/api/user/keys/(?P<reference>[A-Za-z0-9_-]{1,512})"
    PASSWORD = r"/api/password"
    SESSIONS = r"/api/sessions"
    SESSION = r"/api/sessions/(?P<reference>[A-Za-z0-9-]{1,64})"
    CONNECTION = r"/api/connections/(?P<reference>[A-Za-z0-9_-]{1,512})"
    USERS = r"/api/users"
    USER = rf"/api/users/{_ACCOUNT}"
    USER_LINK = rf"/api/users/{_ACCOUNT}/link"
    AUDIT = r"/api/audit"
    SYSTEM = r"/api/system"
    ORGANISATIONS = r"/api/organisations"
    ORGANISATION = rf"/api/organisations/{_NAMESPACE}"
    MEMBER = rf"/api/organisations/{_NAMESPACE}/members/{_ACCOUNT}"
    SERVICES = rf"/api/services/{_NAMESPACE}"
    SERVICE = rf"/api/services/{_NAMESPACE}/{_ACCOUNT}"
    SERVICE_KEYS = rf"/api/services/{_NAMESPACE}/{_ACCOUNT}/keys"
    IMMUTABLE = rf"/api/immutable/{_REPOSITORY}"
    PUBLISHERS = rf"/api/publishers/{_REPOSITORY}"
    REPOSITORIES = r"/api/repositories"
    SHARES = rf"/api/shares/{_REPOSITORY}"
    MANIFESTS = rf"/api/manifests/{_REPOSITORY}"
    SHARE = rf"/api/repositories/{_REPOSITORY}/shares/{_ACCOUNT}"
    REPOSITORY = rf"/api/repositories/{_REPOSITORY}"
    HEALTH = r"/healthz"
    METRICS = r"/metrics"
    CAPABILITY = r"/v2/_capability/(?P<reference>[A-Za-z0-9_.-]{1,2048})"
    STORAGE = r"/v2/_storage/(?P<reference>[A-Za-z0-9_.-]{1,2048})"
    SIGN_IN_PAGE = r"/signin"
    SIGN_OUT_PAGE = r"/signout"
    SET_UP_PAGE = r"/set-up"
    INVITATION_PAGE = r"/invitation"
    LINK_PAGE = r"/page"
    PAGE_LINK = r"/api/page"
    CONNECT_PAGE = r"/connect"
    ACCOUNT_PAGE = r"/account"
    KEYS_PAGE = r"/keys"
    MODELS_PAGE = r"/models/?"
    MODEL_PAGE = rf"/models/{_REPOSITORY}"
    TEAMS_PAGE = r"/teams"
    TEAM_PAGE = rf"/teams/{_NAMESPACE}"
    SHARES_PAGE = rf"/shares/{_REPOSITORY}"
    PUBLISHERS_PAGE = rf"/publishers/{_REPOSITORY}"
    USERS_PAGE = r"/admin/users"
    AUDIT_PAGE = r"/admin/audit"
    SYSTEM_PAGE = r"/admin/system"
    ASSET = r"/assets/(?P<reference>[a-z]{1,20}\.[a-z]{2,4})"
    MANIFEST = rf"/v2/{_REPOSITORY}/manifests/{_REFERENCE}"
    UPLOADS = rf"/v2/{_REPOSITORY}/blobs/uploads/?"
    UPLOAD = rf"/v2/{_REPOSITORY}/blobs/uploads/(?P<reference>[A-Za-z0-9_-]{{1,128}})"
    CONTENT = rf"/v2/{_REPOSITORY}/blobs/uploads/(?P<reference>[A-Za-z0-9_-]{{1,128}})/content"
    BLOB = rf"/v2/{_REPOSITORY}/blobs/{_REFERENCE}"
    TAGS = rf"/v2/{_REPOSITORY}/tags/list"
    REFERRERS = rf"/v2/{_REPOSITORY}/referrers/{_REFERENCE}"


_LONGEST_REPOSITORY = 255
_IN_REPOSITORY = r"/v2/.+/(?:manifests/[^/]+|blobs/[^/]+|blobs/uploads/[^/]*|tags/list|referrers/[^/]+)"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path is about: its route, and the repository and reference in it ("" where it has none)."""

    route: Route
    repository: str = ""
    reference: str = ""


@cache
def _patterns() -> Sequence[tuple[Route, re.Pattern[str]]]:
    """Made when the first path is looked at: a client, which looks at none, starts 5 ms sooner."""
    return [(route, re.compile(route.value)) for route in Route]


@lru_cache(maxsize=256)  # one request is looked at more than once, and many ask for the same
def match(path: str) -> Place | None:
    """The place a request's path (percent-encoded, without query) means, or None."""
    try:
        decoded = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None
    for route, pattern in _patterns():
        found = pattern.fullmatch(decoded)
        if found:
            groups = found.groupdict()
            place = Place(route, groups.get("repository") or "", groups.get("reference") or "")
            return place if len(place.repository) <= _LONGEST_REPOSITORY else None
    return None


def is_repository_path(path: str) -> bool:
    """Whether a path that means no place looks as one would with another repository's name in it."""
    return bool(re.fullmatch(_IN_REPOSITORY, path))


def manifest(repository: str, reference: Digest | str) -> str:
    """`/v2/<repository>/manifests/<tag or digest>`."""
    return f"/v2/{repository}/manifests/{reference}"


def blob(repository: str, digest: Digest) -> str:
    """`/v2/<repository>/blobs/<digest>`."""
    return f"/v2/{repository}/blobs/{digest}"


def uploads(repository: str) -> str:
    """`/v2/<repository>/blobs/uploads/`."""
    return f"/v2/{repository}/blobs/uploads/"


def upload(repository: str, session: str) -> str:
    """`/v2/<repository>/blobs/uploads/<session>`."""
    return f"/v2/{repository}/blobs/uploads/{session}"


def tags(repository: str, after: str = "", limit: int = 0) -> str:
    """`/v2/<repository>/tags/list`, a page of it with `limit`."""
    return f"/v2/{repository}/tags/list{_page(after, limit)}"


def catalog(after: str = "", limit: int = 0) -> str:
    """`/v2/_catalog`, a page of it with `limit`."""
    return f"/v2/_catalog{_page(after, limit)}"


def repositories(after: str = "", limit: int = 0) -> str:
    """`/api/repositories`, a page of it with `limit`."""
    return f"/api/repositories{_page(after, limit)}"


def repository(name: str, after: str = "", limit: int = 0) -> str:
    """`/api/repositories/<repository>`, a page of its tags with `limit`."""
    return f"/api/repositories/{name}{_page(after, limit)}"


def manifests(name: str, after: str = "", limit: int = 0) -> str:
    """`/api/manifests/<repository>`, a page of it with `limit`."""
    return f"/api/manifests/{name}{_page(after, limit)}"


def referrers(
    repository: str, digest: Digest, kind: str | None = None, after: str = "", limit: int = 0
) -> str:
    """`/v2/<repository>/referrers/<digest>`, of one artifact type; a page of it with `limit`."""
    page = _page(after, limit)
    if kind is not None:
        page += f"{'&' if page else '?'}artifactType={quote(kind, safe='')}"
    return f"/v2/{repository}/referrers/{digest}{page}"


def capability(link: str) -> str:
    """`/v2/_capability/<link>`: one blob, by a link that carries its own permission."""
    return f"/v2/_capability/{link}"


def content(repository: str, session: str) -> str:
    """`/v2/<repository>/blobs/uploads/<session>/content`: all bytes of an upload at once."""
    return f"/v2/{repository}/blobs/uploads/{session}/content"


def storage(link: str) -> str:
    """`/v2/_storage/<link>`: all bytes of one upload, by a link that carries its own permission."""
    return f"/v2/_storage/{link}"


def _page(after: str, limit: int) -> str:
    pairs = [f"n={limit}"] if limit else []
    if after:
        pairs.append(f"last={quote(after, safe='')}")
    return f"?{'&'.join(pairs)}" if pairs else ""


# --- the headers that speak of bytes -------------------------------------------------------------------

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UPLOADED = re.compile(r"(?:bytes=)?(\d{1,19})-(\d{1,19})")


def read_content_range(value: str) -> tuple[int, int, int | None]:
    """`bytes 0-99/1000` as (first byte, length, whole or None); RFC 9110 section 14.4."""
    found = _CONTENT_RANGE.fullmatch(value.strip())
    if not found or int(found[2]) < int(found[1]):
        raise InvalidError(f"Content-Range {value[:60]!r} is not one")
    whole = None if found[3] == "*" else int(found[3])
    if whole is not None and int(found[2]) >= whole:
        raise InvalidError(f"Content-Range {value[:60]!r} ends behind the whole")
    return int(found[1]), int(found[2]) - int(found[1]) + 1, whole


def read_upload_range(value: str) -> tuple[int, int]:
    """An upload's `Range` or `Content-Range`, `<first>-<last>` without unit, as (first, last)."""
    found = _UPLOADED.fullmatch(value.strip())
    if not found:
        raise InvalidError(f"range {value[:60]!r} is not <first>-<last>")
    return int(found[1]), int(found[2])


def read_chunk_least(value: str, ceiling: int) -> int:
    """`OCI-Chunk-Min-Length` in bytes, 0 where there is none; InvalidError if it cannot be honoured."""
    if not value:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InvalidError("OCI-Chunk-Min-Length is not a number")
    if int(value) > ceiling:
        raise InvalidError(f"chunks of at least {int(value)} bytes are wanted")
    return int(value)


def in_query(digest: Digest) -> str:
    """The digest as a query's value: `quote` takes each of its characters in turn, thousands of times."""
    return f"{digest.algorithm}%3A{digest.hex}"
