"""People at a real browser, from an empty data directory to a revoked key, and programs beside them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import make_model, shelve, unshelve
from peers import READY_SECONDS, Registry, Tool, ferry_command, ferry_server, ferry_tool
from playwright.sync_api import Browser
from real_browser import Visitor, chromium
from stock import machine

PASSWORD, OTHER = "seven grey herons", "eight white storks"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """`ferry serve` on an empty data directory."""
    with ferry_server(tmp_path / "serve", "--log-format", "text") as registry:
        yield registry


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where a picture is put of a page that has a fault: it stays with the test that failed."""
    (tmp_path / "shots").mkdir()
    return tmp_path / "shots"


def set_up_link(registry: Registry) -> str:
    """What `ferry serve` prints once it is ready; it answers a moment before."""
    deadline = time.monotonic() + READY_SECONDS
    while not (found := re.search(r"^set-up: (\S+)$", registry.log.read_text(), re.MULTILINE)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[1]


@contextlib.contextmanager
def signing_in(home: Path, host: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A real `ferry signin` that waits, and what it has shown."""
    command = [*ferry_command(), "signin", host, "--format", "json"]
    env = {**os.environ, "HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as waits:
        try:
            assert waits.stdout is not None
            yield waits, json.loads(waits.stdout.readline())
        finally:
            waits.kill()


def test_from_an_empty_directory_to_a_revoked_key(
    browser: Browser, registry: Registry, shots: Path, tmp_path: Path, crane: Tool, skopeo: Tool
) -> None:
    base = f"http://{registry.host}"
    ada, ben = Visitor(browser, base, shots), Visitor(browser, base, shots)

    # The first administrator, by the link that was printed; the code in it is taken by itself.
    ada.go(set_up_link(registry))
    ada.examine("set-up")
    assert "#" not in ada.page.url
    ada.fill(name="ada", password=PASSWORD, again=PASSWORD)
    ada.press("Make the account")
    ada.examine("models-none")

    # Ben is invited, and chooses a password.
    ada.go("/admin/users")
    ada.fill(name="ben")
    ada.press("Make the account and a link")
    ada.examine("people")
    invitation = ada.read(".command code")
    ben.go(invitation)
    ben.examine("invitation")
    ben.fill(password=OTHER, again=OTHER)
    ben.press("Save and sign in")

    # His machine asks, and he approves it with the code that it shows.
    with signing_in(tmp_path / "ben", registry.host) as (waits, shown):
        ben.go(shown["url"])
        ben.examine("connect")
        ben.fill(code=shown["code"], password=OTHER)
        ben.press("Connect it")
        assert "The machine is connected" in ben.read()
        assert waits.wait(60) == 0
    ferry = ferry_tool(tmp_path / "ben")
    shelve(tmp_path / "ben", make_model(61), "library/tiny/latest")
    ferry("push", "tiny", f"{registry.host}/ben/tiny:v1")
    ben.go("/models/ben/tiny")
    assert f"ollama pull --insecure {registry.host}/ben/tiny:v1" in ben.read()
    ben.examine("model")

    # Everything of hers is shared; fields that stand side by side stand on one line.
    ben.page.get_by_role("link", name="Who may read and write in all of ben").click()
    ben.fill(user="ada")
    ben.press("Share")
    tops = "[...document.querySelectorAll('.row.end label')].map(each => each.getBoundingClientRect().top)"
    lines = ben.page.evaluate(tops)
    assert max(lines) - min(lines) < 1  # pixel
    ben.examine("shares")

    # An API key, made in the page, opens the model to crane and skopeo until it is revoked.
    ben.go("/keys")
    ben.fill(note="nightly")
    ben.press("Make the key")
    ben.page.locator("summary", has_text="New secret for nightly").click()
    ben.press("Make a new secret")
    assert "old secret until" in ben.read()
    secret = ben.read(".notice .command code").strip()
    ben.examine("keys")
    home = {"HOME": str(tmp_path / "crane"), "DOCKER_CONFIG": str(tmp_path / "crane")}
    keyed = Tool(crane.command, home)
    keyed("auth", "login", registry.host, "-u", "ben", "-p", secret)
    name = f"{registry.host}/ben/tiny:v1"
    raw = ("inspect", "--raw", "--tls-verify=false", "--creds", f"x:{secret}", f"docker://{name}")
    read = [keyed("manifest", name).out, skopeo(*raw).out]
    assert [each.rstrip(b"\n") for each in read] == [make_model(61).manifest] * 2
    ben.go("/keys")
    ben.page.locator("summary", has_text="Revoke nightly").click()
    ben.press("Revoke nightly")
    assert "It is revoked" in ben.read()
    assert keyed.run("manifest", name).code != 0
    assert skopeo.run(*raw).code != 0

    with_a_team(ada, ben, ferry_tool(tmp_path / "ben"), skopeo, registry.host)

    # What the administrator sees of it, and the end.
    for page in ("audit", "system"):
        ada.go(f"/admin/{page}")
        ada.examine(page)
    ben.go("/account")
    ben.examine("account")
    ben.press("Sign out")
    ben.examine("sign-in")
    ben.go("/models/ben/tiny")
    assert ben.page.url.startswith(f"{base}/signin")
    ben.go("/nowhere")
    ben.examine("nothing")
    log = registry.log.read_text()
    secrets = (PASSWORD, OTHER, secret, invitation.partition("#")[2], shown["code"])
    assert [each for each in secrets if each in log] == []
    wrong = [said for each in (ada, ben) for said in each.complaints if "404" not in said]
    assert wrong == []
    ada.close()
    ben.close()


def with_a_team(ada: Visitor, ben: Visitor, ferry: Tool, skopeo: Tool, host: str) -> None:
    """Ada makes an organisation for Ben; its service account pushes what then stays where it is."""
    ada.go("/teams")
    ada.fill(name="acme", owner="ben")
    ada.press("Make it")
    ada.fill(user="ada")
    ada.page.select_option("#role", "writer")
    ada.press("Take in")
    ben.go("/teams")
    ben.examine("teams")
    ben.page.get_by_role("link", name="acme").click()
    ben.fill(pattern="v*")
    ben.press("Keep them")
    ben.fill(name="ci", note="the nightly build of everything that is in the repository")
    ben.page.select_option("#service-role", "writer")
    ben.press("Make it")
    ben.page.locator("summary", has_text="New key for acme/ci").click()
    ben.press("Make a key")
    secret = ben.read(".notice .command code").strip()
    ben.examine("team")
    assert secret.startswith("fry_sa_")
    name = f"{host}/acme/tiny:v1"
    built = replace(ferry, env={**ferry.env, "FERRY_API_KEY": secret, "FERRY_REGISTRY": host})
    ferry("cp", "tiny", name)
    built("push", name)
    creds = ("--tls-verify=false", "--creds", f"any:{secret}")
    assert skopeo("inspect", "--raw", *creds, f"docker://{name}").out.rstrip(b"\n") == make_model(61).manifest
    kept = skopeo.run("delete", *creds, f"docker://{name}")
    assert (kept.code != 0, "immutable" in kept.err) == (True, True), kept.err
    assert skopeo.run("inspect", *creds, f"docker://{host}/ben/tiny:v1").code != 0


def test_a_stock_client_signs_in_pushes_and_pulls_what_is_private(
    browser: Browser, registry: Registry, shots: Path, tmp_path: Path
) -> None:
    ada = Visitor(browser, f"http://{registry.host}", shots)
    ada.go(set_up_link(registry))
    ada.fill(name="ada", password=PASSWORD, again=PASSWORD)
    ada.press("Make the account")
    with machine(tmp_path / "stock") as stock:
        at = {"OLLAMA_AUTH": "1", "OLLAMA_HOST": f"http://{registry.host}"}
        signin = Tool(stock.ollama.command, {**stock.ollama.env, **at})
        asked = signin.run("signin")
        found = re.search(rf"http://{re.escape(registry.host)}/connect\S+", asked.text + asked.err)
        assert found
        ada.go(found[0])
        assert "Nothing proves whose machine this is" in ada.read()
        ada.examine("connect-stock")
        ada.fill(password=PASSWORD)
        ada.press("Connect it")
        again = signin.run("signin")
        assert "ada" in again.text + again.err

        name = f"{registry.host}/ada/tiny:v1"
        shelve(stock.home, make_model(62), "ada/tiny/v1", host=registry.host)
        stock.ollama("push", "--insecure", name)
        stock.ollama("rm", name)
        stock.ollama("pull", "--insecure", name)
        assert unshelve(stock.home, registry.host, "ada/tiny/v1").blobs == make_model(62).blobs
    ada.close()


def test_everything_goes_without_javascript_too(
    browser: Browser, registry: Registry, shots: Path, tmp_path: Path
) -> None:
    ada = Visitor(browser, f"http://{registry.host}", shots, scripts=False)
    link = set_up_link(registry)
    ada.go(link)
    ada.fill(code=link.partition("#")[2], name="ada", password=PASSWORD, again=PASSWORD)
    ada.press("Make the account")
    with signing_in(tmp_path / "ada", registry.host) as (waits, shown):
        ada.go(shown["url"])
        ada.fill(code=shown["code"], password=PASSWORD)
        ada.press("Connect it")
        assert waits.wait(60) == 0
    shelve(tmp_path / "ada", make_model(63), "library/tiny/latest")
    ferry = ferry_tool(tmp_path / "ada")
    ferry("push", "tiny", f"{registry.host}/ada/tiny:v1")
    ada.go("/models")
    ada.page.get_by_role("link", name="ada/tiny").click()
    ada.press("Let everybody read it")
    assert "everybody may read it" in ada.read()
    ada.go("/keys")
    ada.fill(note="build")
    ada.press("Make the key")
    assert re.search(r"fry_\w{36}", ada.read())
    ada.go(ferry("signin", registry.host, "--page").text.strip())
    assert "Continue in this browser" in ada.read()
    ada.press("Sign out")
    assert "Sign in" in ada.read()
    ada.close()
