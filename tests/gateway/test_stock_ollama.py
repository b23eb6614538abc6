"""The stock ollama client, unchanged, with the gateway where it expects its server."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import pytest
from door_kit import KEY, MODEL, House
from peers import Tool, find, free_port, http_call, running
from pretend_cloud import DIGEST, Cloud

_VARIABLE = b"OLLAMA_CLOUD_BASE_URL"


def stock(place: Path, host: str) -> Tool:
    """`ollama` in an empty home, without a browser on its path."""
    return Tool((find("ollama"),), {"HOME": str(place), "OLLAMA_HOST": host, "PATH": str(place)})


@pytest.fixture
def ollama(door: House, tmp_path: Path) -> Tool:
    return stock(tmp_path, door.url)


def test_run_streams_the_words_of_a_cloud_model(ollama: Tool, cloud: Cloud) -> None:
    done = ollama("run", MODEL, "hello")

    assert done.text.strip() == "Good morning"
    asked = {seen.target.partition("?")[0]: json.loads(seen.body) for seen in cloud.asked}
    assert asked["/api/show"]["name"] == "gpt-oss:120b"
    assert asked["/api/generate"]["model"] == "gpt-oss:120b"
    assert asked["/api/generate"]["prompt"] == "hello"


def test_list_ps_and_show(ollama: Tool, cloud: Cloud) -> None:
    names, ids, sizes = zip(*(line.split()[:3] for line in ollama("list").text.splitlines()[1:]), strict=True)
    assert names == ("gpt-oss:120b-cloud", "qwen3-coder:480b-cloud", "kimi-k2:cloud")
    assert (set(ids), set(sizes)) == ({DIGEST[:12]}, {"-"})
    assert ollama("ps").text.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert "120B" in ollama("show", "kimi-k2:cloud").text
    assert json.loads(cloud.asked[0].body)["name"] == "kimi-k2"


def test_pull_has_nothing_to_do_and_rm_and_others_say_why_not(ollama: Tool) -> None:
    ollama("pull", MODEL)
    for words in (("rm", MODEL), ("cp", MODEL, "mine"), ("push", MODEL)):
        done = ollama.run(*words)
        assert (done.code, "cloud models and keeps none" in done.err) == (1, True), done.err


def test_signin_shows_where_the_machine_is_approved(ollama: Tool, cloud: Cloud) -> None:
    assert "signed in as user 'ada'" in ollama("signin").text
    cloud.keys.clear()
    done = ollama("signin")
    assert f"{cloud.spy.url}/connect?name=ada%27s%20laptop&key={KEY.public.connect}" in done.text
    refused = ollama.run("run", MODEL, "hello")
    assert (refused.code, "sign in at http" in refused.err + refused.text) == (1, True)
    assert "not signed in" in ollama("signout").text


def test_a_stock_server_that_is_told_to_ask_the_gateway(door: House, cloud: Cloud, tmp_path: Path) -> None:
    path = Path(find("ollama"))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        if program.find(_VARIABLE) < 0:
            pytest.skip(f"this ollama does not know {_VARIABLE.decode()}: it is older than that")
    host = f"127.0.0.1:{free_port()}"
    client = stock(tmp_path, host)
    env = {**os.environ, **client.env, _VARIABLE.decode(): door.url}
    url = f"http://{host}/api/version"
    with running([str(path), "serve"], tmp_path / "log", lambda: http_call("GET", url).status == 200, env):
        assert client("run", MODEL, "hello").text.strip() == "Good morning"
    assert cloud.asked
