"""Makes pages out of templates. What came from anybody is shown escaped, its control characters visible."""

from __future__ import annotations

import hashlib
import pkgutil
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from registry.errors import RegistryError
from registry.model.amounts import amount
from registry.server.visitor import Visitor
from registry.wire.faults import answer_to
from registry.wire.headers import Headers
from registry.wire.messages import Response

_PACKAGE = "registry.server.pages"
_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_KEPT = ("Allow", "Retry-After")  # of an answer in whose place a page is shown
_YEAR = 365 * 86_400
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# Nobody keeps a page, frames it, guesses what it is, or is told by it where somebody came from.
_SAFE = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),  # with "no-referrer", browsers say that a form's Origin is null
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates, compiled when each is first used."""

    _environment: Environment = field(default_factory=lambda: _environment(), repr=False)

    def page(
        self,
        template: str,
        visitor: Visitor | None,
        values: Mapping[str, object],
        *,
        error: RegistryError | None = None,
        instead_of: Response | None = None,
    ) -> Response:
        """The page that `template` makes of `values`, for the browser that asks.

        `error` is what is wrong with a form that is shown again, or None. It gives the page its status, as
        the answer does that the page stands for.
        """
        given = answer_to(error) if error is not None else instead_of
        status = given.status if given else 200
        kept = [(name, given.headers.get(name)) for name in _KEPT if given and name in given.headers]
        session = visitor.session if visitor else None
        common = {
            "host": visitor.here.spelled if visitor else "",
            "session": session,
            "user": session.user if session else None,
            "error": error,
        }
        body = self._environment.get_template(template).render({**common, **values})
        return Response(status, Headers((*_SAFE, *kept)), body.encode())


def redirect(path: str, *headers: tuple[str, str]) -> Response:
    """Have the browser ask for `path` of this server, after a form was taken."""
    return Response(303, Headers((("Location", path), ("Cache-Control", "no-store"), *headers)))


def asset(name: str) -> Response | None:
    """A stylesheet, script or picture of the pages, to be kept for a year: its address changes with it."""
    found = _assets(name)
    if found is None:
        return None
    kind = _KINDS[name.rpartition(".")[2]]
    kept = ("Cache-Control", f"public, max-age={_YEAR}, immutable")
    return Response(
        200, Headers((("Content-Type", kind), kept, ("X-Content-Type-Options", "nosniff"))), found
    )


def visible(text: str, *, lines: bool = False) -> str:
    """`text` with everything visible that would steer a terminal or turn the line round, as `\\u202e`.

    `lines`: ends of lines and tabs stay what they are.
    """
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or _shows(c) else c.encode("unicode_escape").decode() for c in text)


def _shows(character: str) -> bool:
    """Whether a character is seen, and changes nothing around it: no controls, no format characters."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(lines=_lines, sentence=sentence, size=amount, count=_count)
    environment.filters.update(date=_date, moment=_moment)
    environment.globals["asset"] = _address
    return environment


def _finalized(value: object) -> object:
    """Every value on its way into a page."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)


def _lines(text: str) -> Markup:
    """A text of several lines, as a `<pre>` takes it."""
    return escape(visible(text.replace("\r\n", "\n"), lines=True))


def sentence(said: str) -> str:
    """What is said of an error, as a sentence; a name that it begins with keeps its letters."""
    first = said.partition(" ")[0]
    return f"{said[:1].upper()}{said[1:]}." if first.isalpha() else f"{said}."


def _count(number: float) -> str:
    """A number with its thousands apart."""
    return f"{number:,.0f}".replace(",", "\u202f")


def _date(seconds: float | None) -> Markup:
    """A day in UTC, with the moment behind it; a dash for none."""
    return _time(seconds, "%Y-%m-%d")


def _moment(seconds: float | None) -> Markup:
    """A moment in UTC, to the minute."""
    return _time(seconds, "%Y-%m-%d %H:%M UTC")


def _time(seconds: float | None, form: str) -> Markup:
    if seconds is None:
        return Markup("–")
    exact = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    shown = time.strftime(form, time.gmtime(seconds))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, shown)


@cache
def _assets(name: str) -> bytes | None:
    if name not in ("style.css", "pages.js", "icon.svg"):
        return None
    return pkgutil.get_data(_PACKAGE, f"assets/{name}")


@cache
def _address(name: str) -> str:
    """Where a page finds an asset."""
    data = _assets(name)
    assert data is not None
    return f"/assets/{name}?{hashlib.sha256(data).hexdigest()[:12]}"
