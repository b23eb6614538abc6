"""A registry with pages, and a browser without a screen: it keeps cookies, reads forms and sends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

from guarded import HOST, NAMES, ORIGIN, Door, account_rows, text
from sqlalchemy import Engine

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.contracts import Clock, Depot
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.metrics import Metrics
from registry.server.names import Names
from registry.server.pages.errors import ForBrowsers
from registry.server.pages.html import Templates
from registry.server.pages.site import Site
from registry.server.table import table, with_pages
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Context, Request, Response

HERE = "192.0.2.1"  # where a browser is, if nothing else is said
PASSWORD = "seven grey herons"
TEMPLATES = Templates()
_VOID = frozenset({"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})


class PagesDoor(Door):
    """The guarded registry with its pages."""

    def __init__(self, depot: Callable[[Engine, Clock], Depot] | None = None, names: Names = NAMES) -> None:
        """`depot` makes what is kept, over the same database; without it that is in memory."""
        super().__init__(names=names)
        self.connecting = self.approval.connecting
        self.identity = replace(self.identity, connecting=self.connecting)
        self.depot = depot(self.engine, self.accounts.clock) if depot else MemoryDepot()
        site = Site(
            self.approval,
            self.people,
            self.health,
            self.api_keys,
            self.last_use,
            TEMPLATES,
            self.depot,
            self.rights,
            self.jobs,
        )
        app, account = App(self.depot, self.rights, self.links), account_rows(self, self.depot)
        rows = table(app, self.identity, Metrics().answer, account)
        self.guard = replace(
            self.guard,
            table=with_pages(rows, site.rows()),
            identity=self.identity,
            sessions=self.sessions,
        )
        self.site = ForBrowsers(self.guard, TEMPLATES)

    def person(self, name: str, *, admin: bool = False, address: str = HERE) -> Browser:
        """Somebody with an account and a password, signed in."""
        link = self.invitations.invite(name, admin=admin)
        browser = Browser(self, address)
        browser.get(link).form().send(code=link.partition("#")[2], password=PASSWORD, again=PASSWORD)
        assert browser.page.path == "/models", browser.page.text
        return browser

    def me(
        self, who: PrivateKey, *, address: str = HERE, code: bool = False, agent: str = "", host: str = ""
    ) -> Response:
        """What `/api/me` answers to a client that signs with `who`, for `host` if it says so."""
        query = [*([("code", "show")] if code else []), *([("host", host)] if host else [])]
        target = signing.call_target("/api/me", query, now=self.now)
        value = signing.authorization(who, signing.call_text("POST", target))
        headers = Headers({"Host": HOST, "Authorization": value, **({"User-Agent": agent} if agent else {})})
        return self.send(Request("POST", ORIGIN + target, headers, context=Context(address=address)))


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def all(self, *tags: str) -> list[Element]:
        """The elements of these kinds in it."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if child.tag in tags else []
                found += child.all(*tags)
        return found

    @property
    def text(self) -> str:
        """What is read of it."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        joined = "".join(parts)
        return joined if self.tag in ("pre", "code") else " ".join(f" {joined} ".split())


class _Reader(HTMLParser):
    """Reads a page strictly: every element is closed by its own end."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.top = Element("", {})
        self._open = [self.top]
        self.feed(html)
        self.close()
        assert self._open == [self.top], f"{self._open[-1].tag} is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} says one thing twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


@dataclass
class Filled:
    """A form, to be filled in and sent; `button` is the one that is pressed."""

    browser: Browser
    element: Element
    url: str

    @property
    def fields(self) -> dict[str, str]:
        """What is in it before anybody types: no checkbox that is not ticked."""
        found = {}
        for each in self.element.all("input", "textarea", "select"):
            at = each.attributes
            if "name" not in at:
                continue
            if each.tag == "textarea":
                found[at["name"]] = each.text
            elif each.tag == "select":
                options = each.all("option")
                chosen = next((one for one in options if "selected" in one.attributes), options[0])
                found[at["name"]] = chosen.attributes["value"]
            elif at.get("type") not in ("checkbox", "radio") or "checked" in at:
                found[at["name"]] = at.get("value", "")
        return found

    def send(self, button: str = "", /, **typed: str) -> Page:
        """Fill in and press the button that reads so, or the first; only fields that are there."""
        names = {each.attributes.get("name") for each in self.element.all("input", "textarea", "select")}
        assert set(typed) <= names, f"{set(typed) - names} is not in {names}"
        fields = {**self.fields, **typed}
        buttons = self.element.all("button")
        pressed = next((each for each in buttons if not button or each.text == button), None)
        assert pressed is not None, f"no button {button!r}: {[each.text for each in buttons]}"
        if "name" in pressed.attributes:
            fields[pressed.attributes["name"]] = pressed.attributes["value"]
        action = urljoin(self.url, self.element.attributes["action"])
        return self.browser.post(action, fields)


@dataclass
class Page:
    """What came."""

    browser: Browser
    url: str
    response: Response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def path(self) -> str:
        return self.url.removeprefix(ORIGIN).partition("?")[0]

    @property
    def html(self) -> str:
        return text(self.response)

    @property
    def top(self) -> Element:
        return _Reader(self.html).top

    @property
    def text(self) -> str:
        """What is read of the page's own part."""
        return " ".join(each.text for each in self.top.all("main"))

    def form(self, action: str = "", having: str = "") -> Filled:
        """The one form that goes to `action`, if that is said, and has `having` in a field or a button."""
        [main] = self.top.all("main")
        forms = [each for each in main.all("form") if action in ("", each.attributes["action"])]
        if having:
            parts = ("input", "button", "textarea", "select")
            forms = [
                each for each in forms if any(having in part.attributes.values() for part in each.all(*parts))
            ]
        assert len(forms) == 1, f"{len(forms)} such forms at {self.url}: {self.text}"
        return Filled(self.browser, forms[0], self.url)


class Browser:
    """Somebody's browser at `address`."""

    def __init__(self, door: PagesDoor, address: str = HERE) -> None:
        self.door = door
        self.address = address
        self.cookies: dict[str, str] = {}
        self.page: Page
        self.leads = 0  # how often the last answer was to look elsewhere

    def get(self, path: str) -> Page:
        """What is at a path, and where it leads."""
        return self._follow("GET", urljoin(ORIGIN, path.partition("#")[0]), b"", {})

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        """Send a form's fields, as from one of the registry's own pages."""
        return self._follow("POST", urljoin(ORIGIN, path), urlencode(fields).encode(), headers)

    def answer(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Response:
        """One answer, wherever it leads; header names are written with `_`, and "" leaves one out."""
        fields = {"Host": HOST, "Accept": "text/html,*/*"}
        if method == "POST":
            fields |= {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = Headers({name: value for name, value in fields.items() if value})
        request = Request(method, urljoin(ORIGIN, path), given, body, context=Context(address=self.address))
        response = _driven(self.door, request)
        for line in response.headers.all("Set-Cookie"):
            self._keep(line)
        return response

    def _follow(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Page:
        response = self.answer(method, url, body, **headers)
        for self.leads in range(5):
            if response.status != 303:
                break
            url = urljoin(url, response.headers.get("Location"))
            assert url.startswith(f"{ORIGIN}/"), f"sent away to {url}"
            response = self.answer("GET", url)
        self.page = Page(self, url, response)
        return self.page

    def _keep(self, line: str) -> None:
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        self.cookies.pop(name, None)
        if "Max-Age=0" not in attributes:
            self.cookies[name] = value


def _driven(door: PagesDoor, request: Request) -> Response:
    answer = door.site(replace(request, body=b"", length=request.length))
    if isinstance(answer, Accept):
        assert isinstance(request.body, bytes)
        assert len(request.body) <= answer.limit
        answer.intake.write(request.body)
        return answer.then()
    return answer
