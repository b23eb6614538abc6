"""Who may come in: programs and pages of this machine, with the token where there is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from door_kit import ASKED, House
from pretend_cloud import Cloud

from registry.gateway.entrance import RequestCheck
from registry.wire.headers import Headers
from registry.wire.messages import Request

TOKEN = "a-token-of-many-letters"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:8443",
        "http://0.0.0.0:8080",
        "http://[::1]:3000",
        "app://obsidian.md",
        "file://",
        "tauri://localhost",
        "vscode-webview://abc",
        "vscode-file://vscode-app",
    ],
)
def test_pages_of_this_machine_may_ask_and_read(door: House, origin: str) -> None:
    answer = door.ask("POST", "/v1/chat/completions", ASKED, Origin=origin)

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://ollama.com",
        "http://evil.example",
        "http://localhost.evil.example",
        "vscode",
        "data:x",
        "http://127.0.0.1.nip.io",
        "chrome-extension://abc",
        "http://10.0.0.1",
        "app:evil",
    ],
)
def test_pages_of_other_sites_may_not(door: House, cloud: Cloud, origin: str) -> None:
    answer = door.ask("POST", "/v1/messages", ASKED, Origin=origin)

    assert (answer.status, answer.json["error"]["type"]) == (403, "permission_error")
    assert "access-control-allow-origin" not in answer.headers
    assert cloud.spy.seen == []


def test_a_second_origin_is_looked_at_too() -> None:
    origins = [("Origin", "http://localhost"), ("Origin", "https://evil.example")]
    request = Request("GET", "http://localhost/", Headers((("Host", "localhost"), *origins)))

    assert (RequestCheck().refusal(request) or (0,))[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:11436", "127.1.2.3", "[::1]:11436"])
def test_it_goes_by_every_name_of_the_loopback(door: House, host: str) -> None:
    assert door.ask("GET", "/api/version", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1:11436", "ollama.com", "0.0.0.0"]
)
def test_a_name_that_was_made_to_point_here_is_refused(door: House, host: str) -> None:
    answer = door.ask("GET", "/api/tags", Host=host)

    assert (answer.status, host in answer.json["error"]) == (403, True)


def test_a_page_is_told_what_it_may_send(door: House, cloud: Cloud) -> None:
    asked = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,x-stainless-os",
    }

    answer = door.ask("OPTIONS", "/v1/chat/completions", Origin="http://localhost:3000", **asked)

    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert cloud.spy.seen == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"Authorization": TOKEN}, 401),
        ({"X_Api_Key": TOKEN}, 200),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": "Bearer \xff"}, 401),
    ],
)
def test_where_others_use_the_machine_a_token_is_needed(
    doors: Callable[..., House], cloud: Cloud, headers: dict[str, str], status: int
) -> None:
    door = doors(token=TOKEN)

    assert door.ask("POST", "/v1/embeddings", ASKED, **headers).status == status
    assert TOKEN.encode() not in cloud.spy.everything
    asked = {"Origin": "http://localhost:1", "Access_Control_Request_Method": "POST"}
    assert door.ask("OPTIONS", "/v1/embeddings", **asked).status == 204  # a browser asks without it
