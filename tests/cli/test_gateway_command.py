"""How ferry gateway starts, refuses to start, writes down what passes, and ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import http_call
from person import Ferry, quick
from pretend_cloud import Cloud
from waiting import until

from cli.settings.cloud import switched_off
from registry.auth.keys import ensure_key

SEED = bytes(range(32))
SECRET = "sk-of-the-caller-12345"
ASKED = b'{"model":"gpt-oss:120b-cloud","prompt":"my own words","stream":false}'


@pytest.fixture
def cloud(ferry: Ferry) -> Iterator[Cloud]:
    """A pretend ollama.com that knows the person's key."""
    key = ensure_key(ferry.home / ".ollama" / "id_ed25519", SEED)
    with Cloud(keys={key.public.text}) as made:
        yield made


class Running:
    """`ferry gateway` on a free port."""

    def __init__(self, ferry: Ferry, cloud: Cloud, *words: str) -> None:
        self.log_file = ferry.home / "log"
        with self.log_file.open("w") as log:
            self.process = ferry.start(
                "gateway",
                *("--listen", "127.0.0.1:0", "--to", cloud.spy.url),
                *words,
                stderr=log,
                program=quick(),
            )
        self.ready = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str]:
        """The exit code after SIGTERM, and the rest of its standard output."""
        self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out

    @property
    def log(self) -> str:
        return self.log_file.read_text()


@pytest.fixture
def run(ferry: Ferry, cloud: Cloud) -> Iterator[Any]:
    started: list[Running] = []

    def start(*words: str) -> Running:
        started.append(Running(ferry, cloud, *words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_it_says_when_it_is_ready_and_one_line_for_each_request(run: Any, cloud: Cloud) -> None:
    running = run()
    url = running.ready.split(" ready on ")[1].split(",")[0]
    assert running.ready == f"ferry gateway: ready on {url}, for models of {cloud.spy.url}\n"

    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Api-Key": SECRET}
    assert http_call("POST", f"{url}/api/generate?q={SECRET}", ASKED, headers).status == 200
    assert http_call("GET", f"{url}/{SECRET}").status == 404
    assert http_call("POST", f"{url}/v1/messages", b'{"model":"a 200\\n\\u001b[1m:x-cloud"}').status == 200

    assert running.end() == (0, "")
    told = [line.split(" ", 1)[1] for line in running.log.splitlines() if line.startswith("20")]
    assert told[0].startswith("POST /api/generate gpt-oss:120b-cloud 200 69>")
    assert told[1].startswith("GET none - 404 0>")
    assert told[2].startswith("POST /v1/messages a\\x20200\\n\\x1b[1m:x-cloud 200 ")
    assert len(told) == 3
    assert SECRET not in running.log
    assert "my own words" not in running.log
    assert SECRET.encode() not in cloud.spy.everything.replace(f"q={SECRET}".encode(), b"")


def test_an_api_key_that_is_replaced_is_used_from_the_next_request_on(
    ferry: Ferry, run: Any, cloud: Cloud
) -> None:
    place = ferry.home / "api-key"
    place.write_text("first-key-0123456789")
    place.chmod(0o600)
    cloud.api_keys.update(("first-key-0123456789", "second-key-0123456789", "third-key-01234567890"))
    ferry.settings(f'[host."{cloud.spy.url.partition("//")[2]}"]\napi_key_file = "{place}"\n')
    running = run()
    url = running.ready.split(" ready on ")[1].split(",")[0]

    def sent() -> str | None:
        assert http_call("POST", f"{url}/api/generate", ASKED).status == 200
        return cloud.asked[-1].header("Authorization")

    assert sent() == "Bearer first-key-0123456789"
    newer = ferry.home / "newer"
    newer.write_text("second-key-0123456789")
    newer.chmod(0o600)
    newer.rename(place)
    assert sent() == "Bearer second-key-0123456789"
    place.chmod(0o644)
    place.write_text("third-key-01234567890")  # which others may read: it is not used, and that is said
    assert sent() == "Bearer second-key-0123456789"
    place.chmod(0o600)  # as `cp` and then `chmod` leave it: the same bytes, written at the same time
    assert sent() == "Bearer third-key-01234567890"
    assert running.end()[0] == 0
    assert "others" in running.log and "key-0123" not in running.log


def listens(place: tuple[str, int]) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(place) == 0


def test_sigterm_lets_a_stream_end(run: Any, cloud: Cloud) -> None:
    more = threading.Event()
    cloud.answers["/api/generate"] = [b"first\n", more, b"last\n"]
    running = run()
    place = ("127.0.0.1", int(running.ready.split(",")[0].rpartition(":")[2]))
    with socket.create_connection(place, timeout=30) as opened, opened.makefile("rb") as answer:
        head = f"POST /api/generate HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(ASKED)}\r\n\r\n"
        opened.sendall(head.encode() + ASKED)
        assert b"first\n" in iter(answer.readline, b"")
        running.process.terminate()
        until(lambda: not listens(place))
        more.set()
        assert answer.read() == b"last\n"
    assert running.end()[0] == 0


def test_as_json_everything_is_a_line_of_standard_output(run: Any, cloud: Cloud) -> None:
    running = run("--format", "json", "--token")
    ready = json.loads(running.ready)
    assert ready["to"] == cloud.spy.url

    assert http_call("GET", f"{ready['url']}/api/tags").status == 401
    headers = {"Authorization": f"Bearer {ready['token']}"}
    assert http_call("GET", f"{ready['url']}/api/tags", None, headers).status == 200

    again = run("--token")
    assert again.line() == f"token: {ready['token']}\n"
    code, out = running.end()
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, [(line["route"], line["status"]) for line in told]) == (
        0,
        [("/api/tags", 401), ("/api/tags", 200)],
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--listen", "0.0.0.0:0"], 2, "not this machine's loopback"),
        (["--listen", "11436"], 2, "not HOST:PORT"),
        (["--to", "http://models.acme.example"], 2, "plain HTTP"),
        (["--to", "https://models.acme.example"], 4, "ferry login models.acme.example --api-key-stdin"),
        (["--to", "nonsense/with/path"], 2, "host"),
    ],
)
def test_what_it_will_not_do_is_refused_at_once(ferry: Ferry, words: list[str], code: int, said: str) -> None:
    ensure_key(ferry.home / ".ollama" / "id_ed25519", SEED)

    done = ferry("gateway", *words)

    assert (done.code, said in done.err) == (code, True), done.err


def test_without_any_key_it_says_how_to_get_one(ferry: Ferry) -> None:
    done = ferry("gateway")

    assert done.code == 4
    assert "ferry signin ollama.com" in done.err


def test_a_port_that_is_taken_is_said(ferry: Ferry, cloud: Cloud) -> None:
    done = ferry("gateway", "--to", cloud.spy.url, "--listen", cloud.spy.netloc)

    assert (done.code, "--listen HOST:PORT" in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("environ", "file", "by", "source"),
    [
        ({}, None, "", "none"),
        ({}, "{}", "", "none"),
        ({}, "no json", "", "none"),
        ({}, '{"disable_ollama_cloud": false}', "", "none"),
        ({}, '{"disable_ollama_cloud": true}', "disable_ollama_cloud in ", "config"),
        ({"OLLAMA_NO_CLOUD": "1"}, None, "OLLAMA_NO_CLOUD", "env"),
        ({"OLLAMA_NO_CLOUD": "yes"}, None, "OLLAMA_NO_CLOUD", "env"),
        ({"OLLAMA_NO_CLOUD": "0"}, None, "", "none"),
        ({"OLLAMA_NO_CLOUD": "False"}, None, "", "none"),
        ({"OLLAMA_NO_CLOUD": "1"}, '{"disable_ollama_cloud": true}', "OLLAMA_NO_CLOUD", "both"),
    ],
)
def test_what_switches_cloud_models_off(
    tmp_path: Path, environ: dict[str, str], file: str | None, by: str, source: str
) -> None:
    if file is not None:
        (tmp_path / ".ollama").mkdir()
        (tmp_path / ".ollama" / "server.json").write_text(file)

    said, word = switched_off(environ, tmp_path)

    assert (bool(said), said.startswith(by), word) == (bool(by), True, source)


def test_switched_off_it_starts_and_says_so(ferry: Ferry, run: Any, cloud: Cloud) -> None:
    (ferry.home / ".ollama" / "server.json").write_text('{"disable_ollama_cloud": true}')
    running = run()
    url = running.ready.split(" ready on ")[1].split(",")[0]

    answer = http_call("POST", f"{url}/v1/messages", ASKED)

    assert answer.status == 403
    assert "disable_ollama_cloud" in json.loads(answer.body)["error"]["message"]
    assert cloud.spy.seen == []
    assert running.end()[0] == 0
    assert "cloud models are switched off by disable_ollama_cloud" in running.log
