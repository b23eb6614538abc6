"""One token a repository, good for all that was asked for there: what the token server is asked, and when."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

import pytest
from session_kit import BLOB, READING, UPLOADS, WRITING, session
from spy import Seen, Spy, Talk, reply, whole

from registry.auth.scopes import Scopes, Wanted
from registry.errors import DeniedError
from registry.net.http import Http
from registry.wire.headers import Headers
from registry.wire.messages import Access, Request, Transport

MOUNT = Access("acme/tiny", ("pull", "push"), "base/model")
TINY, BASE = "repository:acme/tiny", "repository:base/model"


@dataclass
class Strict:
    """A registry whose tokens are their scopes: each request needs its own, and is refused without it.

    `rights` is what our key may do; a token server that `refuses` says no to a request for more, another
    one leaves it out.
    """

    rights: str = f"{TINY}:pull,push,delete {BASE}:pull registry:catalog:*"
    refuses: bool = False
    scope_of: str = "repository:{}:{}"  # how its challenges spell it
    names_source: bool = True  # whether its challenges to a mount name where it comes from
    asked: list[str] = field(default_factory=list)

    def __call__(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        path, _, query = seen.target.partition("?")
        if path == "/token":
            self.asked.append(" ".join(value for key, value in parse_qsl(query) if key == "scope"))
            talk.send(self._token(self.asked[-1]))
        elif self._held(seen).cover(wanted := Scopes.parse(self._needed(seen, path, query))):
            talk.send(reply(201, b"fine"))
        else:
            scope = " ".join(wanted.texts if self.names_source else wanted.texts[:1])
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{talk.spy.url}/token",scope="{scope}"'))

    def _token(self, asked: str) -> bytes:
        rights, wanted = Scopes.parse(self.rights), Scopes.parse(asked)
        if self.refuses and not rights.cover(wanted):
            return reply(403, b"not all of it")
        granted = [text for text in wanted.texts if rights.cover(Scopes.parse(text))]
        return reply(200, f'{{"token":"{quote(" ".join(granted))}"}}'.encode())

    def _held(self, seen: Seen) -> Scopes:
        token = (seen.header("Authorization") or "").removeprefix("Bearer ")
        return Scopes.parse(
            token.replace("%20", " ").replace("%3A", ":").replace("%2C", ",").replace("%2A", "*")
        )

    def _needed(self, seen: Seen, path: str, query: str) -> str:
        if "_catalog" in path:
            return "registry:catalog:*"
        repository = "/".join(path.split("/")[2:4])
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(seen.method, "pull,push")
        source = dict(parse_qsl(query)).get("from")
        return self.scope_of.format(repository, action) + (f" repository:{source}:pull" if source else "")


def post(talk: Transport, spy: Spy, access: Access = WRITING) -> int:
    query = f"?mount=sha256:00&from={access.mounted_from}" if access.mounted_from else ""
    return talk(Request("POST", f"{spy.url}{UPLOADS}{query}", access=access)).status


def test_what_was_asked_for_adds_up_and_one_token_serves_it_all(http: Http) -> None:
    with Spy((registry := Strict(),)) as spy:
        talk = session(http, spy)
        for _ in range(2):
            talk(Request("GET", spy.url + BLOB, access=READING)).close()
            assert post(talk, spy) == post(talk, spy, MOUNT) == 201

        assert registry.asked == [f"{TINY}:pull", f"{TINY}:pull,push", f"{TINY}:pull,push {BASE}:pull"]


@pytest.mark.parametrize("names_source", [True, False])
def test_a_second_mirror_into_a_repository_mounts(names_source: bool, http: Http) -> None:
    other = Access("acme/tiny", ("pull", "push"), "acme/old")
    rights = f"{TINY}:pull,push {BASE}:pull repository:acme/old:pull"
    with Spy((registry := Strict(rights, names_source=names_source),)) as spy:
        talk = session(http, spy)
        assert [post(talk, spy, MOUNT), post(talk, spy, other), post(talk, spy, MOUNT)] == [201] * 3
        assert len(registry.asked) == 2


def test_an_upload_whose_url_says_nothing_carries_its_own_repositorys_token(http: Http) -> None:
    """GHCR: `/v2/<repository>/blobs/upload/<id>`."""

    def patch(repository: str) -> int:
        access = Access(repository, ("pull", "push"))
        talk(Request("POST", f"{spy.url}/v2/{repository}/blobs/uploads/", access=access)).close()
        url = f"{spy.url}/v2/{repository}/blobs/upload/1"
        return talk(Request("PATCH", url, Headers(), iter([b"abc"]), 3, access)).status

    with Spy((Strict(f"{TINY}:pull,push {BASE}:pull,push"),)) as spy:
        talk = session(http, spy)
        assert (patch("acme/tiny"), patch("base/model")) == (201, 201)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_mount_that_may_not_be_takes_nothing_from_the_push(refuses: bool, http: Http) -> None:
    with Spy((registry := Strict(f"{TINY}:pull,push", refuses),)) as spy:
        talk = session(http, spy)
        with pytest.raises(DeniedError, match=r"base/model|did not accept"):
            post(talk, spy, MOUNT)
        assert post(talk, spy) == 201

        asked = len(registry.asked)
        with pytest.raises(DeniedError, match="no right to take a blob over from base/model"):
            post(talk, spy, MOUNT)
        assert (post(talk, spy), len(registry.asked)) == (201, asked)


def test_what_is_about_no_repository_has_a_token_of_its_own(http: Http) -> None:
    with Spy((registry := Strict(),)) as spy:
        talk = session(http, spy)
        talk(Request("GET", spy.url + BLOB, access=READING)).close()
        assert talk(Request("GET", spy.url + "/v2/_catalog")).status == 201
        assert registry.asked == [f"{TINY}:pull", "registry:catalog:*"]


def test_a_registry_that_calls_the_repository_something_else_is_asked_for_that(http: Http) -> None:
    with Spy(
        (registry := Strict("repository:virtual/acme/tiny:pull", scope_of="repository:virtual/{}:{}"),)
    ) as spy:
        talk = session(http, spy)
        for _ in range(2):
            assert talk(Request("GET", spy.url + BLOB, access=READING)).status == 201
        assert registry.asked == ["repository:virtual/acme/tiny:pull"]


@pytest.mark.parametrize(("rights", "outcome"), [(f"{TINY}:pull", b"fine"), ("", b"denied")])
def test_sixteen_workers_ask_for_one_token(rights: str, outcome: bytes, http: Http) -> None:
    with Spy((registry := Strict(rights, refuses=True),)) as spy:
        ready = threading.Barrier(16)

        def together(request: Request) -> object:
            response = http(request)
            if response.status == 401:
                ready.wait(5)  # each has seen its 401 before the first asks for a token
            return response

        talk = session(together, spy)  # type: ignore[arg-type]
        ended: list[bytes] = []

        def work() -> None:
            try:
                ended.append(whole(talk(Request("GET", spy.url + BLOB, access=READING))))
            except DeniedError:
                ended.append(b"denied")

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert ended == [outcome] * 16
        assert len(registry.asked) == (1 if rights else 2)  # as nobody too: it may be public


def test_a_refused_rest_costs_one_more_question_and_a_wrong_secret_none() -> None:
    least, mount = Scopes.parse(f"{TINY}:pull,push"), Scopes.parse(f"{BASE}:pull")

    assert [one.texts for one in Wanted(least, mount).tries(f"{TINY}:pull,push {BASE}:pull")] == [
        [f"{TINY}:pull,push", f"{BASE}:pull"],
        [f"{TINY}:pull,push"],
    ]
    assert len(Wanted(least, least).tries(f"{TINY}:pull")) == 1
