"""Everything that a page does can be done by the account API, and is the same change.

Each form of the templates is a row of FORMS; one that a page grows without a row here fails. What a form and
its call leave in the audit has to be the same, as everything that changes anything is written there.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from databases import begin_session
from guarded import key, text
from identity_provider import Provider
from pages_kit import HERE, PASSWORD, Browser, PagesDoor

from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.audit import latest
from registry.server.depot import DiskDepot
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right

TEMPLATES = Path(__file__).resolve().parents[2] / "registry" / "server" / "pages" / "templates"
LAPTOP, WAITING = key(1), key(9)
NEW = f"{PASSWORD}, and more"


@dataclass(frozen=True)
class Same:
    """A form, sent to `page` with `fields`, and the call that does the same."""

    page: str
    fields: Mapping[str, str]
    method: str
    path: str
    body: Mapping[str, object] = field(default_factory=dict)


# They are done one after another in two registries, in this order. What lets a person in is for a browser
# only: no program is to ask anybody for a password.
IN_A_BROWSER = "a person's way into a session"

FORMS: dict[tuple[str, str], Same | str] = {
    ("sign_in.html", ""): IN_A_BROWSER,
    ("set_up.html", ""): IN_A_BROWSER,
    ("invitation.html", ""): IN_A_BROWSER,
    ("link.html", ""): IN_A_BROWSER,
    ("connect.html", "approve"): Same(
        "/connect",
        {"key": WAITING.public.connect, "name": "desk", "code": "CODE", "password": PASSWORD},
        "PUT",
        f"/api/connections/{WAITING.public.connect}",
        {"name": "desk", "code": "CODE", "password": PASSWORD},
    ),
    ("keys.html", "create"): Same(
        "/keys",
        {"note": "ci", "where": "ada/*", "pull": "1", "push": "1", "days": "30"},
        "POST",
        "/api/credentials",
        {"note": "ci", "scopes": ["ada/*:pull,push"], "expires_in": 30 * 86_400},
    ),
    ("keys.html", "rotate"): Same(
        "/keys", {"id": "APIKEY", "leaked": "1"}, "POST", "/api/credentials/APIKEY/rotate", {"overlap": 0}
    ),
    ("keys.html", "revoke"): Same("/keys", {"id": "APIKEY"}, "DELETE", "/api/credentials/APIKEY"),
    ("model.html", "public"): Same(
        "/models/ada/tiny", {}, "PATCH", "/api/repositories/ada/tiny", {"visibility": "public"}
    ),
    ("model.html", "private"): Same(
        "/models/ada/open", {}, "PATCH", "/api/repositories/ada/open", {"visibility": "private"}
    ),
    ("model.html", "share"): Same(
        "/models/ada/tiny",
        {"user": "cleo", "right": "write", "scope": "ada/tiny"},
        "PUT",
        "/api/repositories/ada/tiny/shares/cleo",
        {"right": "write"},
    ),
    ("model.html", "delete-tag"): Same(
        "/models/ada/tiny", {"tag": "v1"}, "DELETE", "/v2/ada/tiny/manifests/v1"
    ),
    ("model.html", "delete"): Same(
        "/models/ada/tiny", {"name": "ada/tiny"}, "DELETE", "/api/repositories/ada/tiny"
    ),
    ("parts.html", "take-back"): Same(
        "/models/ada/tiny",
        {"user": "bob", "scope": "ada/tiny"},
        "DELETE",
        "/api/repositories/ada/tiny/shares/bob",
    ),
    ("shares.html", "share"): Same(
        "/shares/ada",
        {"user": "cleo", "right": "read"},
        "PUT",
        "/api/repositories/ada/shares/cleo",
        {"right": "read"},
    ),
    ("teams.html", "add"): Same(
        "/teams",
        {"name": "lab", "owner": "bob"},
        "POST",
        "/api/organisations",
        {"name": "lab", "owner": "bob"},
    ),
    ("team.html", "member"): Same(
        "/teams/guild",
        {"user": "cleo", "role": "writer"},
        "PUT",
        "/api/organisations/guild/members/cleo",
        {"role": "writer"},
    ),
    ("team.html", "take-out"): Same(
        "/teams/guild", {"user": "bob"}, "DELETE", "/api/organisations/guild/members/bob"
    ),
    ("team.html", "leave"): Same("/teams/guild", {}, "DELETE", "/api/organisations/guild/members/ada"),
    ("team.html", "service"): Same(
        "/teams/guild",
        {"name": "mirror", "role": "reader", "note": "n"},
        "POST",
        "/api/services/guild",
        {"name": "mirror", "role": "reader", "note": "n"},
    ),
    ("team.html", "key"): Same(
        "/teams/guild", {"name": "ci", "note": "n"}, "POST", "/api/services/guild/ci/keys", {"note": "n"}
    ),
    ("team.html", "rotate"): Same(
        "/teams/guild",
        {"id": "SERVICEKEY", "leaked": "1"},
        "POST",
        "/api/credentials/SERVICEKEY/rotate",
        {"overlap": 0},
    ),
    ("team.html", "revoke"): Same(
        "/teams/guild", {"id": "SERVICEKEY"}, "DELETE", "/api/credentials/SERVICEKEY"
    ),
    ("team.html", "revoke-service"): Same("/teams/guild", {"name": "ci"}, "DELETE", "/api/services/guild/ci"),
    ("team.html", "immutable"): Same(
        "/teams/guild",
        {"pattern": "v*", "model": "tiny"},
        "POST",
        "/api/immutable/guild/tiny",
        {"pattern": "v*"},
    ),
    ("team.html", "movable"): Same(
        "/teams/guild", {"pattern": "old*", "model": ""}, "DELETE", "/api/immutable/guild?pattern=old*"
    ),
    ("team.html", "remove"): Same("/teams/guild", {}, "DELETE", "/api/organisations/guild"),
    ("publishers.html", "add"): Same(
        "/publishers/ada/tiny",
        {"forge": "github", "project": "ada/ml", "number": "65", "ref": "refs/heads/main"},
        "POST",
        "/api/publishers/ada/tiny",
        {
            "issuer": "https://token.actions.githubusercontent.com",
            "claims": {"repository": "ada/ml", "repository_owner_id": "65", "ref": "refs/heads/main"},
        },
    ),
    ("publishers.html", "remove"): Same(
        "/publishers/ada/tiny", {"id": "PUBLISHER"}, "DELETE", "/api/publishers/ada/tiny?id=PUBLISHER"
    ),
    ("people.html", "invite"): Same(
        "/admin/users", {"name": "dora", "admin": "1"}, "POST", "/api/users", {"name": "dora", "admin": True}
    ),
    ("people.html", "link"): Same("/admin/users", {"name": "bob"}, "POST", "/api/users/bob/link"),
    ("people.html", "take-back"): Same("/admin/users", {"name": "bob"}, "DELETE", "/api/users/bob/link"),
    ("people.html", "disable"): Same(
        "/admin/users", {"name": "cleo"}, "PATCH", "/api/users/cleo", {"disabled": True}
    ),
    ("people.html", "enable"): Same(
        "/admin/users", {"name": "fay"}, "PATCH", "/api/users/fay", {"disabled": False}
    ),
    ("people.html", "remove"): Same("/admin/users", {"name": "cleo"}, "DELETE", "/api/users/cleo"),
    # These end the sessions that the forms before need.
    ("account.html", "end"): Same("/account", {"id": "OTHER"}, "DELETE", "/api/sessions/OTHER"),
    ("account.html", "end-others"): Same("/account", {}, "DELETE", "/api/sessions"),
    ("account.html", ""): Same(
        "/account",
        {"old": PASSWORD, "password": NEW, "again": NEW},
        "PUT",
        "/api/password",
        {"old": PASSWORD, "new": NEW},
    ),
    ("base.html", ""): Same("/signout", {}, "DELETE", "/api/sessions/THIS"),
}
# What each page shows, and where the same is read.
SHOWN = {
    "account.html": ("/api/account", "/api/sessions"),
    "audit.html": ("/api/audit",),
    "connect.html": (f"/api/connections/{WAITING.public.connect}",),
    "keys.html": ("/api/credentials",),
    "model.html": ("/api/repositories/ada/tiny", "/api/manifests/ada/tiny"),
    "models.html": ("/api/repositories",),
    "people.html": ("/api/users", "/api/users/bob"),
    "publishers.html": ("/api/publishers/ada",),
    "shares.html": ("/api/shares/ada",),
    "system.html": ("/api/system",),
    "teams.html": ("/api/organisations",),
    "team.html": ("/api/organisations/guild", "/api/services/guild", "/api/immutable/guild"),
}
NO_LISTS = {
    "base.html",
    "parts.html",
    "error.html",
    "sign_in.html",
    "set_up.html",
    "invitation.html",
    "link.html",
}


@dataclass
class Place:
    """A registry where something can be done by everybody's forms; `ada` owns it, and does it."""

    door: PagesDoor
    browser: Browser
    names: dict[str, str]

    @classmethod
    def made(cls, directory: Path) -> Place:
        ids = (f"id-{number}" for number in itertools.count())
        door = PagesDoor(lambda engine, clock: DiskDepot(directory, engine, clock, lambda: next(ids)))
        browser = door.person("ada", admin=True)
        ada = door.accounts.user("ada")
        [this] = door.sessions.of(ada)
        begin_session(door.sessions, ada, "198.51.100.7")
        [other] = [each for each in door.sessions.of(ada) if each.id != this.id]
        door.credentials.add_key("ada", LAPTOP.public)
        for number, name in enumerate(("bob", "cleo", "fay"), 2):
            door.join(name, key(number))
        door.invitations.invite("bob")
        door.accounts.disable("fay")
        for name in ("ada/tiny", "ada/open"):
            _publish(door, name)
        door.rights.set_public("ada/open", True)
        door.rights.grant("bob", "ada/tiny", Right.READ)
        made = door.api_keys.create(ada, parse_scopes(["ada/*:pull"]))
        door.connecting.note(WAITING.public, HERE, shows_code=True)
        code = door.connecting.code(WAITING.public)
        names = {"APIKEY": made.id, "OTHER": other.id, "CODE": code, "SERVICEKEY": _with_a_team(door)}
        publisher = door.trust(Provider("https://ci.example"), "ada/tiny", repository_id="74")
        return cls(door, browser, {**names, "PUBLISHER": publisher})

    def meant(self, said: str) -> str:
        """`said`, with what is meant by the names in it."""
        if "THIS" in said:
            begin_session(self.door.sessions, self.door.accounts.user("ada"), HERE)
            said = said.replace("THIS", self.door.sessions.of(self.door.accounts.user("ada"))[0].id)
        for name, value in self.names.items():
            said = said.replace(name, value)
        return said

    def changes(self, before: int = 0) -> list[tuple[str, str, str]]:
        """What was done after the row `before`, the newest first; new identifiers are all the same."""
        found = [each for each in latest(self.door.engine) if each.id > before]
        return [(each.action, each.repository, _ID.sub("ID", each.subject)) for each in found]

    @property
    def last(self) -> int:
        return latest(self.door.engine, limit=1)[0].id


_ID = re.compile(r"[0-9a-f-]{36}")


def _with_a_team(door: PagesDoor) -> str:
    """An organisation, with a service account and immutable tags; the identifier of a key."""
    door.organisations.add("guild", "ada")
    for name in ("bob", "cleo"):
        door.organisations.set_role("guild", name, Right.READ)
    door.immutable.add("guild", "old*")
    return door.by_secret(door.service_key("guild/ci", Right.WRITE)).credential_id


def _publish(door: PagesDoor, name: str) -> None:
    data = name.encode()
    upload = door.depot.begin(name)
    upload.write(data)
    upload.commit(Digest.of(data))
    upload.close()
    config = Descriptor(DOCKER_CONFIG, Digest.of(data), len(data)).as_json()
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": []}
    door.depot.publish(name, Manifest.parse(json.dumps(document).encode()), "v1")


def forms() -> set[tuple[str, str]]:
    """Every form of the templates: the template, and what the form says it does ("" for the one thing)."""
    found = set()
    for template in TEMPLATES.glob("*.html"):
        for form in re.findall(r'<form method="post".*?</form>', template.read_text(), re.DOTALL):
            does = re.findall(r'<button name="do" value="([^"]*)"', form)
            found |= {(template.name, each) for each in does or [""]}
    return found


def test_every_form_of_a_page_has_its_row() -> None:
    assert forms() == set(FORMS)


def test_every_page_that_shows_something_has_its_call() -> None:
    assert set(SHOWN) | NO_LISTS == {each.name for each in TEMPLATES.glob("*.html")}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Place]:
    """One where forms are sent, and one where the calls are made."""
    return Place.made(tmp_path_factory.mktemp("forms")), Place.made(tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize(
    "form", [each for each, same in FORMS.items() if isinstance(same, Same)], ids=" ".join
)
def test_a_form_and_its_call_do_the_same(form: tuple[str, str], places: tuple[Place, Place]) -> None:
    same = FORMS[form]
    assert isinstance(same, Same)
    by_form, by_call = places
    token = by_form.browser.get("/account").form(having="old").fields["token"]
    before = by_form.last
    fields = {name: by_form.meant(value) for name, value in same.fields.items()}
    page = by_form.browser.post(same.page, {"token": token, **({"do": form[1]} if form[1] else {}), **fields})
    assert page.status == 200, page.text
    done = by_form.changes(before)
    assert done != []

    scope = "repository:ada/tiny:pull,delete" if same.path.startswith("/v2/") else "registry:account:*"
    bearer, before = by_call.door.token(LAPTOP, scope), by_call.last
    body = by_call.meant(json.dumps(same.body)).encode() if same.body else b""
    path = by_call.meant(same.path)
    answer = by_call.door.ask(same.method, path, token=bearer, body=body)
    assert answer.status < 300, text(answer)
    changed = [each for each in by_call.changes(before) if each[0] != "session.begin"]
    # A browser that changes its password is given a new session; a machine that ends all others ends all.
    expected = [each for each in done if each[0] != "session.begin"]
    assert changed == [(a, b, c.replace("others", "all")) for a, b, c in expected]


def test_what_a_page_shows_is_read_by_a_call(tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    bearer = place.door.token(LAPTOP, "registry:account:*")
    for path in itertools.chain.from_iterable(SHOWN.values()):
        assert place.door.ask("GET", path, token=bearer).status == 200, path
