"""Every route that programs ask for, and what each is answered in the program's own words."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import zstandard
from door_kit import ASKED, MODEL, House
from pretend_cloud import DIGEST, Cloud
from spy import reply

from registry import connect_gateway
from registry.net.network import Network

INFERENCE = (
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/api/embeddings",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
)


def test_what_programs_look_for_first(door: House, cloud: Cloud) -> None:
    assert door.ask("GET", "/").body == b"Ollama is running"
    assert door.ask("HEAD", "/").status == 200
    major, minor, _ = door.ask("GET", "/api/version").json["version"].split(".")
    assert (int(major), int(minor)) >= (0, 17)
    assert door.ask("GET", "/api/status").json == {"cloud": {"disabled": False, "source": "none"}}
    assert door.ask("GET", "/api/ps").json == {"models": []}
    assert cloud.spy.seen == []


def test_the_catalogue_is_listed_under_the_names_that_run_here(door: House, cloud: Cloud) -> None:
    listed = door.ask("GET", "/api/tags").json["models"]

    assert [each["name"] for each in listed] == [
        "gpt-oss:120b-cloud",
        "qwen3-coder:480b-cloud",
        "kimi-k2:cloud",
    ]
    assert listed[2] == {
        "name": "kimi-k2:cloud",
        "model": "kimi-k2:cloud",
        "remote_model": "kimi-k2",
        "remote_host": cloud.spy.url,
        "digest": DIGEST,
        "size": 65,
        "modified_at": "2026-01-02T03:04:05Z",
    }
    models = door.ask("GET", "/v1/models").json
    first = {"id": MODEL, "object": "model", "created": 1767323045, "owned_by": "library"}
    assert (models["object"], models["data"][0]) == ("list", first)
    for name in (MODEL, "gpt-oss:120b", "gpt-oss%3A120b-cloud"):
        assert door.ask("GET", f"/v1/models/{name}").json == first
    assert door.ask("GET", "/v1/models/llama3.2").json["error"]["code"] == "model_not_found"
    assert door.ask("HEAD", "/api/tags").headers["content-length"] == str(
        len(door.ask("GET", "/api/tags").body)
    )
    assert door.ask("GET", "/api/tags", b"{}").status == 200
    (seen,) = cloud.spy.seen
    assert seen.header("Authorization") is None


def test_a_catalogue_that_is_no_list_is_said_and_asked_for_again(door: House, cloud: Cloud) -> None:
    for wrong in (b"[]", b'{"models":7}', b"<html>", b'{"models":null}'):
        cloud.answers["/api/tags"] = reply(200, wrong)
        answer = door.ask("GET", "/v1/models")
        assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
        assert "ferry doctor" in answer.json["error"]["message"]
    cloud.answers["/api/tags"] = reply(
        200, b'{"models":[{"name":"a"},{"name":7},{},{"name":"b:1","digest":"ab"}]}'
    )

    listed = door.ask("GET", "/api/tags").json["models"]

    assert [(each["name"], len(each["digest"])) for each in listed] == [("a:cloud", 64), ("b:1-cloud", 64)]


@pytest.mark.parametrize("path", INFERENCE)
def test_every_inference_route_takes_a_model_under_both_its_names(
    door: House, cloud: Cloud, path: str
) -> None:
    for name in (MODEL, "gpt-oss:120b"):
        assert door.ask("POST", path, {"model": name, "input": "x"}).status == 200
        assert json.loads(cloud.asked[-1].body) == {"model": "gpt-oss:120b", "input": "x"}
        assert cloud.asked[-1].target.startswith(path)
    record = door.record(1)
    assert (record.route, record.repository) == (path, "gpt-oss:120b")


@pytest.mark.parametrize("path", INFERENCE)
def test_a_model_that_is_no_cloud_model_is_not_sent_there(door: House, cloud: Cloud, path: str) -> None:
    answer = door.ask("POST", path, {"model": "llama3.2", "prompt": "private"})

    assert answer.status == 404
    assert b"llama3.2 is no cloud model" in answer.body
    assert cloud.asked == []


def test_a_question_without_a_model_is_the_other_ends_to_refuse(door: House, cloud: Cloud) -> None:
    cloud.answers["/v1/chat/completions"] = reply(400, b'{"error":{"message":"model is required"}}')

    answer = door.ask("POST", "/v1/chat/completions", b"{}")

    assert (answer.status, answer.body) == (400, b'{"error":{"message":"model is required"}}')


def test_show_asks_under_either_key(door: House, cloud: Cloud) -> None:
    for body in (b'{"model":"","name":"kimi-k2:cloud"}', b'{"model":"kimi-k2:cloud"}'):
        assert door.ask("POST", "/api/show", body).json["capabilities"] == ["completion", "tools"]
        assert cloud.asked[-1].body == body.replace(b":cloud", b"")


def test_a_pull_of_a_cloud_model_has_nothing_to_do(door: House, cloud: Cloud) -> None:
    assert door.ask("POST", "/api/pull", {"name": MODEL}).json == {"status": "success"}
    assert door.ask("POST", "/api/pull", {"model": "kimi-k2"}).json == {"status": "success"}
    assert door.ask("POST", "/api/pull", {"model": "llama3.2"}).status == 404
    assert cloud.asked == []


def test_searches_go_where_they_are_known(door: House, cloud: Cloud) -> None:
    for path in (
        "/api/web_search",
        "/api/experimental/web_search",
        "/api/web_fetch",
        "/api/experimental/web_fetch",
    ):
        assert door.ask("POST", path, {"query": "x", "model": MODEL}).status == 200
        assert cloud.asked[-1].target.startswith(f"/api/web_{path.rpartition('_')[2]}?")
        assert json.loads(cloud.asked[-1].body) == {"query": "x", "model": MODEL}


def test_who_we_are_and_signing_out(door: House, cloud: Cloud) -> None:
    assert door.ask("POST", "/api/me").json["name"] == "ada"

    assert door.ask("POST", "/api/signout").body == b"null\n"
    assert cloud.asked[-1].method == "DELETE"
    assert cloud.asked[-1].target.startswith("/api/user/keys/c3NoLWVkMjU1MTkg")
    cloud.keys.clear()
    assert door.ask("POST", "/api/signout").status == 401
    assert "/connect?name=" in door.ask("POST", "/api/me").json["signin_url"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/create", 501),
        ("POST", "/api/copy", 501),
        ("DELETE", "/api/delete", 501),
        ("POST", "/api/push", 501),
        ("POST", f"/api/blobs/sha256:{DIGEST}", 501),
        ("GET", "/api/generate", 405),
        ("PUT", "/v1/messages", 405),
        ("GET", "/nothing", 404),
        ("POST", "/v1/images/generations", 404),
        ("POST", "/api/generate/", 404),
        ("POST", "/api/%67enerate", 404),
        ("POST", "//api/generate", 404),
    ],
)
def test_what_it_does_not_do_is_a_sentence(
    door: House, cloud: Cloud, method: str, path: str, status: int
) -> None:
    answer = door.ask(method, path, ASKED)

    assert answer.status == status
    error = answer.json["error"]
    assert "gateway" in (error if isinstance(error, str) else error["message"])
    assert cloud.spy.seen == []


@pytest.mark.parametrize("path", ["/api/chat", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no json", {}, 400),
        (b'{"model":"a-cloud"', {}, 400),
        (b"x", {"Content_Encoding": "zstd"}, 400),
        (b"x", {"Content_Encoding": "br"}, 400),
        (b"x" * 100, {"Content_Length": str(21 * 1024 * 1024)}, 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    door: House, cloud: Cloud, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = door.ask("POST", path, body, **headers)

    error = answer.json["error"]
    assert (answer.status, "body" in (error if path == "/api/chat" else error["message"])) == (status, True)
    assert cloud.spy.seen == []


def test_a_compressed_body_arrives_as_it_was(door: House, cloud: Cloud) -> None:
    body = json.dumps({"model": MODEL, "input": "x" * 200_000}).encode()
    packed = zstandard.ZstdCompressor().compress(body)

    assert door.ask("POST", "/v1/responses", packed, Content_Encoding="zstd").status == 200

    (seen,) = cloud.asked
    assert seen.body == body.replace(b"120b-cloud", b"120b")
    assert seen.header("Content-Encoding") is None


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_compressed_body_that_is_cut_short_is_called_that(door: House, cloud: Cloud, cut: int) -> None:
    body = json.dumps({"model": MODEL, "input": [str(number) for number in range(9_000)]}).encode()
    packed = zstandard.ZstdCompressor().compress(body)

    answer = door.ask("POST", "/v1/responses", packed[:-cut], Content_Encoding="zstd")

    assert (answer.status, "cut short" in answer.json["error"]["message"]) == (400, True)
    assert cloud.spy.seen == []
    twice = zstandard.ZstdCompressor().compress(body[:1000]) + zstandard.ZstdCompressor().compress(
        body[1000:]
    )
    assert door.ask("POST", "/v1/responses", twice, Content_Encoding="zstd").status == 200


def test_a_bomb_is_not_unpacked(door: House) -> None:
    packed = zstandard.ZstdCompressor().compress(b" " * (64 << 20))

    answer = door.ask("POST", "/v1/responses", packed, Content_Encoding="zstd")

    assert (answer.status, "once it is decoded" in answer.json["error"]["message"]) == (400, True)


def test_a_large_body_goes_through_whole(door: House, cloud: Cloud) -> None:
    body = json.dumps({"images": ["A" * (5 << 20)], "model": MODEL}).encode()

    assert door.ask("POST", "/api/embed", body).status == 200
    assert cloud.asked[0].body == body.replace(b"120b-cloud", b"120b")
    assert cloud.asked[0].header("Transfer-Encoding") is None


def test_an_empty_question_has_no_body_at_the_other_end(door: House, cloud: Cloud) -> None:
    door.ask("POST", "/api/me")

    assert (cloud.asked[0].header("Content-Length"), cloud.asked[0].body) == ("0", b"")


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_other_refusals_pass_as_they_are(door: House, cloud: Cloud, status: int) -> None:
    cloud.answers["/api/chat"] = reply(status, b"any  words\n", Content_Type="text/x", Retry_After="3")

    answer = door.ask("POST", "/api/chat", ASKED)

    assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, b"any  words\n", "3")
    assert answer.headers["content-type"] == "text/x"


@pytest.mark.parametrize("status", [101, 302, 307, 999])
def test_a_redirect_and_another_protocol_are_not_followed_and_not_passed_on(
    door: House, cloud: Cloud, status: int
) -> None:
    elsewhere = f"{cloud.spy.url}/elsewhere?token=x"
    cloud.answers["/api/chat"] = reply(status, b"", Location=elsewhere, Upgrade="x", Connection="close")

    answer = door.ask("POST", "/api/chat", ASKED)

    assert (answer.status, len(cloud.asked), "location" in answer.headers) == (502, 1, False)
    assert f"answered {status}, which cannot be passed on" in answer.json["error"]


def test_what_is_no_http_is_said_in_one_line(door: House, cloud: Cloud) -> None:
    cloud.answers["/api/chat"] = b"SSH-2.0-OpenSSH_9.6\r\n\r\nConnection: close\r\nConnection: close"

    error = door.ask("POST", "/api/chat", ASKED).json["error"]

    assert "did not answer in HTTP: Bad status line; ferry doctor" in error


def test_a_list_that_takes_too_long_is_waited_for_no_longer(
    doors: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect_gateway, "LISTING", 0.0)

    assert "takes too long" in doors().ask("GET", "/v1/models").json["error"]["message"]


def test_who_cannot_be_reached_is_named(doors: Callable[..., House]) -> None:
    answer = doors(to="http://127.0.0.1:9", network=Network(connect=2)).ask("POST", "/v1/messages", ASKED)

    assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
    assert "127.0.0.1:9 refused the connection" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/api/chat", "/api/tags", "/v1/models", "/api/web_search", "/api/me", "/api/show"]
)
def test_switched_off_it_passes_nothing_on(doors: Callable[..., House], cloud: Cloud, path: str) -> None:
    door = doors(disabled="OLLAMA_NO_CLOUD in the environment")

    answer = door.ask("GET" if path in ("/api/tags", "/v1/models") else "POST", path, ASKED)

    assert (answer.status, b"OLLAMA_NO_CLOUD" in answer.body) == (403, True)
    assert door.ask("GET", "/api/status").json == {"cloud": {"disabled": True, "source": "env"}}
    assert cloud.spy.seen == []
