"""`ferry api`: which secret goes with a call, how its answer is passed on, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import write_certificate
from house import House
from person import FERRY, Ferry
from pretend_accounts import as_json, signer
from spy import Script, Seen, Spy, Talk, reply

from registry.auth.keys import PrivateKey, ensure_key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ollama")
    write_certificate(folder, "ollama.com")
    return folder


class Ollama:
    """What is ollama.com to a person whose proxy it is; `answer` is what it answers with."""

    def __init__(self, certificate: Path) -> None:
        self.answer: Script = as_json(200, ok=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        self.spy = Spy((self._script,))
        self.environ = {
            "HTTPS_PROXY": f"http://{self.spy.netloc}",
            "FERRY_TLS_CA": str(certificate / "cert.pem"),
        }

    @property
    def asked(self) -> Seen:
        """The last request."""
        return self.spy.seen[-1]

    def _script(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if seen.method == "CONNECT":
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
            talk.encrypt(self.context)
        elif isinstance(self.answer, bytes):
            talk.send(self.answer)
        else:
            self.answer(talk, seen)


@pytest.fixture
def ollama(certificate: Path) -> Iterator[Ollama]:
    made = Ollama(certificate)
    with made.spy:
        yield made


@pytest.fixture
def outside(ferry: Ferry, ollama: Ollama) -> Ferry:
    """A person for whom ollama.com is the pretended one."""
    return Ferry(ferry.home, ollama.environ)


@pytest.fixture
def key(ferry: Ferry) -> PrivateKey:
    return ensure_key(ferry.home / ".ollama" / "id_ed25519", os.urandom(32))


# --- which secret, and in what form ---------------------------------------------------------------------


def test_the_seeds_own_example_is_signed_by_this_machines_key(
    outside: Ferry, ollama: Ollama, key: PrivateKey
) -> None:
    ollama.answer = as_json(200, response="scattering")
    example = next(line for line in outside("api", "--help").out.splitlines() if "generate" in line)
    done = outside(*shlex.split(example)[1:]).well()
    assert json.loads(done.out) == {"response": "scattering"}
    asked = ollama.asked
    assert (asked.method, json.loads(asked.body)) == ("POST", {"model": "gpt-oss:120b", "prompt": "Hi"})
    assert asked.target.startswith("/api/generate?ts=") and "host=" not in asked.target
    assert signer(asked) == key.public
    assert asked.header("Content-Type") == "application/json"


def test_a_signed_query_is_sorted_as_what_is_signed(outside: Ferry, ollama: Ollama, key: PrivateKey) -> None:
    outside("api", "get", "/api/tags?z=1&a=%2F&empty=&ts=1").well()
    assert ollama.asked.target.startswith("/api/tags?a=%2F&empty=&ts=1") and "&z=1" in ollama.asked.target
    assert ollama.asked.target.count("ts=") == 1
    assert signer(ollama.asked) == key.public


def test_an_api_key_that_is_given_goes_before_this_machines_key(
    outside: Ferry, ollama: Ollama, key: PrivateKey
) -> None:
    for path in ("/api/generate", "/v1/chat/completions", "/api/usage?range=24h", "/api/balance"):
        outside("api", "POST", path, "-d", "{}", OLLAMA_API_KEY="of-ollama").well()
        assert ollama.asked.target == path and ollama.asked.header("Authorization") == "Bearer of-ollama"
    outside("api", "GET", "/download", OLLAMA_API_KEY="of-ollama").well()  # it is for the API only
    assert signer(ollama.asked) == key.public


def test_usage_takes_an_api_key_only_and_says_so(outside: Ferry, ollama: Ollama, key: PrivateKey) -> None:
    done = outside("api", "GET", "/api/usage?range=7d")
    assert done.code == 4 and "by an API key only" in done.err and "OLLAMA_API_KEY" in done.err
    assert ollama.spy.seen == []
    outside("api", "GET", "/api/usage", FERRY_KEY=key.openssh(), OLLAMA_API_KEY="of-ollama").well()
    assert ollama.asked.header("Authorization") == "Bearer of-ollama"


def test_without_any_secret_nobody_asks_and_that_is_said(outside: Ferry, ollama: Ollama) -> None:
    done = outside("api", "GET", "/api/tags").well()
    assert "as nobody in particular" in done.err
    assert ollama.asked.header("Authorization") is None


def test_another_host_is_never_sent_a_bare_signature(ferry: Ferry, key: PrivateKey) -> None:
    """It names no host: whoever has it could ask ollama.com with it. None but those that sign in."""
    with Spy((reply(401, b'{"error":"unauthorized"}'),)) as spy:
        for call in (("POST", "/api/generate"), ("GET", "/api/me"), ("DELETE", "/api/user/keys/x")):
            assert ferry("api", *call, "--host", spy.netloc).code == 4
        assert all(seen.header("Authorization") is None for seen in spy.seen)
        for method, path in (("HEAD", "/"), ("POST", "/api/me"), ("POST", "/api/signout")):
            ferry("api", method, f"{path}?host=ollama.com", "--host", spy.netloc)
            assert signer(spy.seen[-1]) == key.public
            assert f"host={spy.netloc.replace(':', '%3A')}&" in spy.seen[-1].target
            assert "ollama.com" not in spy.seen[-1].target


@pytest.mark.usefixtures("key")
def test_an_api_key_goes_to_its_own_host_and_no_other(ferry: Ferry) -> None:
    with Spy((as_json(200),)) as mine, Spy((as_json(200),)) as other:
        environ = {
            "FERRY_API_KEY": "fry-secret",
            "FERRY_REGISTRY": mine.netloc,
            "OLLAMA_API_KEY": "of-ollama",
        }
        person = Ferry(ferry.home, environ)
        person("api", "POST", "/v1/chat/completions", "-d", "{}").well()
        person("api", "POST", "/v1/chat/completions", "--host", other.netloc).well()
        assert mine.seen[-1].header("Authorization") == "Bearer fry-secret"
        assert (
            b"fry-secret" not in other.everything and b"of-ollama" not in mine.everything + other.everything
        )


def test_what_says_who_we_are_does_not_follow_a_redirect_to_another_host(ferry: Ferry) -> None:
    with Spy((as_json(200),)) as other, Spy((reply(307, Location=f"{other.url}/x"),)) as mine:
        person = Ferry(ferry.home, {"FERRY_API_KEY": "fry-secret", "FERRY_REGISTRY": mine.netloc})
        person("api", "GET", "/x").well()
        assert mine.seen[-1].header("Authorization") == "Bearer fry-secret"
        assert other.seen[-1].header("Authorization") is None and b"fry-secret" not in other.everything
        assert person("api", "POST", "/x", "-d", "{}").code == 7  # and only what reads is followed at all
        assert len(other.seen) == 1


def test_a_real_account_api_is_called_with_a_token_and_with_an_api_key(house: House, ferry: Ferry) -> None:
    house.welcome(ferry, "caller")
    at = ("--host", house.host)
    assert ferry("api", "POST", "/api/me", *at).well().json["name"] == "caller"
    assert ferry("api", "HEAD", "/", *at).well().out == ""
    told = ferry("api", "GET", "/api/account", *at).well().json
    assert (told["name"], told["credential"]["kind"]) == ("caller", "machine")
    made = (
        ferry("api", "POST", "/api/credentials", "-d", '{"note":"ci"}', *at, "--format", "json").well().json
    )
    assert made["status"] == 201 and made["headers"]["Content-Type"].startswith("application/json")
    environ = {"FERRY_API_KEY": made["body"]["secret"], "FERRY_REGISTRY": house.host}
    assert ferry("api", "GET", "/api/account", **environ).well().json["credential"]["kind"] == "api"
    assert ferry("api", "GET", "/v2/_catalog", *at).well().json == {"repositories": []}
    refused = ferry("api", "POST", "/api/credentials", "-d", "{}", **environ)
    assert refused.code == 4 and json.loads(refused.out)["error"]
    assert ferry("api", "GET", "/api/nothing", *at).code == 3
    assert ferry("api", "POST", "/api/signout", *at).well().json == {}


# --- what is asked --------------------------------------------------------------------------------------

NO_PATHS = [
    "api/tags",
    "//evil.example/x",
    "http://evil.example/",
    "/a b",
    "/\\evil",
    "/a\r\nX: y",
    "/a#b",
    "",
]


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path_on_this_host_is_refused(path: str, ferry: Ferry) -> None:
    with Spy((reply(200),)) as spy:
        done = ferry("api", "GET", path, "--host", spy.netloc)
        assert done.code == 2 and "is not a path" in done.err
        assert spy.connections == 0
    assert ferry("api", "BREW", "/").code == 2


@pytest.mark.parametrize("command", [("api", "GET", "/x", "--host"), ("doctor",)], ids=["api", "doctor"])
def test_an_empty_host_is_not_taken_for_the_usual_one(command: tuple[str, ...], outside: Ferry) -> None:
    """A script's variable that is not set."""
    done = outside(*command, "")
    assert done.code == 2 and "'' is not a" in done.err
    secret = outside(*command, "https://ada:s3cret@models.acme.example")
    assert secret.code == 2 and "a password" in secret.err and "s3cret" not in secret.err


def test_a_path_goes_out_as_it_was_written(ferry: Ferry) -> None:
    with Spy((reply(200),)) as spy:
        ferry("api", "GET", "/a/../%2F/@evil.example?b=1&a=%20", "--host", spy.netloc).well()
        assert spy.seen[0].target == "/a/../%2F/@evil.example?b=1&a=%20"


def test_a_body_is_said_read_from_a_file_or_from_standard_input(ferry: Ferry) -> None:
    (ferry.home / "body").write_bytes(b"\x00\xff")
    with Spy((reply(200),)) as spy:
        at = ("--host", spy.netloc)
        ferry("api", "PUT", "/x", "-d", "@body", *at).well()
        assert spy.seen[-1].body == b"\x00\xff"
        assert spy.seen[-1].header("Content-Type") == "application/octet-stream"
        ferry("api", "PUT", "/x", "-d", "-", *at, stdin='["é"]').well()
        assert spy.seen[-1].body.decode() == '["é"]' and "json" in str(spy.seen[-1].header("Content-Type"))
        ferry("api", "POST", "/x", *at).well()
        assert spy.seen[-1].header("Content-Type") is None
        assert ferry("api", "PUT", "/x", "-d", "@nowhere", *at).code == 2
        count = len(spy.seen)
        ferry("api", "PUT", "/x", "-d", "-", *at, stdin="x" * 4 * 1024 * 1024).well()
        much = ferry("api", "PUT", "/x", "-d", "-", *at, stdin="x" * (4 * 1024 * 1024 + 1))
        assert much.code == 2 and "more than 4 MiB" in much.err
        assert len(spy.seen) == count + 1


# --- what is answered -----------------------------------------------------------------------------------


@pytest.mark.patience(20)
def test_the_first_line_is_seen_before_the_last_was_sent_and_ctrl_c_ends_it(ferry: Ferry) -> None:
    seen_by_reader = threading.Event()

    def script(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        talk.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"a":1}\n\r\n')
        assert seen_by_reader.wait(15)
        talk.send(b'8\r\n{"a":2}\n\r\n')
        talk.wait(15)

    with Spy((script,)) as spy:
        process = ferry.start("api", "POST", "/api/chat", "--host", spy.netloc)
        assert process.stdout is not None
        assert process.stdout.readline() == '{"a":1}\n'
        seen_by_reader.set()
        assert process.stdout.readline() == '{"a":2}\n'
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted" in err


def test_a_pipe_gets_every_byte_as_it_came(ferry: Ferry) -> None:
    body = bytes(range(256)) * 3
    with Spy((reply(200, body),)) as spy:
        done = subprocess.run(
            [*FERRY, "api", "GET", "/x", "--host", spy.netloc],
            env=ferry.env(),
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (0, body)


def test_a_terminal_gets_no_control_characters(ferry: Ferry) -> None:
    with Spy((reply(200, b"one\r\n\x1b]0;owned\x07two\tx\n\xe2\x82\xac"),)) as spy:
        ours, theirs = pty.openpty()
        done = subprocess.run(
            [*FERRY, "api", "GET", "/x", "--host", spy.netloc], env=ferry.env(), stdout=theirs, timeout=60
        )
        os.close(theirs)
        told = os.read(ours, 65536).decode()
        os.close(ours)
    assert done.returncode == 0
    assert told == "one\r\n\\x1b]0;owned\\x07two\tx\r\n€\r\n"


STATUSES = {
    200: 0, 201: 0, 204: 0, 302: 7, 400: 7, 401: 4, 403: 4, 404: 3, 405: 7, 408: 6, 409: 7, 412: 7, 413: 7,
    421: 7, 425: 6, 429: 6, 451: 4, 500: 6, 501: 7, 502: 6, 503: 6, 504: 6,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
def test_the_exit_code_is_that_of_the_status(status: int, ferry: Ferry) -> None:
    body = b"" if status == 204 else b'{"error":"a sentence"}'
    with Spy((reply(status, body, Retry_After="7"),)) as spy:
        done = ferry("api", "POST", "/x", "--host", spy.netloc)
        assert (done.code, done.out) == (STATUSES[status], body.decode())
        assert done.code == 0 or ("a sentence" in done.err and spy.netloc in done.err)
        assert ("ask again in 7 s" in done.err) == (done.code == 6)
        assert ("→ check the path, and what the request names" in done.err) == (status == 404)


def test_the_document_has_status_headers_body_and_the_error(ferry: Ferry) -> None:
    answer = reply(429, b'{"error":"slow down"}', Retry_After="60", X_Plan="free")
    with Spy((answer, reply(200, b"a\nb\n"))) as spy:
        done = ferry("api", "GET", "/x", "--host", spy.netloc, "--format", "json")
        assert done.code == 6 and done.err.count("\n") == 2  # that nobody asks, and what failed
        told = done.json
        assert (told["status"], told["body"], told["headers"]["X-Plan"]) == (
            429,
            {"error": "slow down"},
            "free",
        )
        assert told["error"]["exit"] == 6 and "ask again in 60 s" in told["error"]["hint"]
        text = ferry("api", "GET", "/x", "--host", spy.netloc, "--format", "json").well().json
        assert text["body"] == "a\nb\n" and "error" not in text


@pytest.mark.parametrize("how", ["key", "API key"])
@pytest.mark.usefixtures("key")
def test_a_refusal_says_what_to_do_about_what_was_sent(how: str, outside: Ferry, ollama: Ollama) -> None:
    ollama.answer = as_json(401, error="unauthorized", signin_url="https://ollama.com/connect?x")
    given = "of-ollama" if how == "API key" else None
    done = outside("api", "POST", "/api/chat", OLLAMA_API_KEY=given)
    assert done.code == 4 and "signin_url" in done.out
    assert ("ferry signin ollama.com" if how == "key" else "make a new API key") in done.err


def test_a_host_that_falls_silent_is_waited_for_as_long_as_is_set(ferry: Ferry) -> None:
    with Spy((lambda talk, _seen: talk.wait(15),)) as spy:
        done = ferry("api", "GET", "/x", "--host", spy.netloc, FERRY_STALL="0.2")
        assert done.code == 6 and "fell silent" in done.err


def test_an_answer_that_breaks_off_is_no_success(ferry: Ferry) -> None:
    with Spy((reply(200, b"half", Content_Length="9", Connection="close"),)) as spy:
        done = ferry("api", "GET", "/x", "--host", spy.netloc)
        assert (done.code, done.out) == (6, "half")
