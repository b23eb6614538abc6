"""Every secret of a whole life with a registry, and none of it where it does not belong.

The secrets are read off the wire, and looked for in what everybody may see: outputs, logs, arguments of
programs, audit, metrics, pages, the database, a backup, and what a client leaves in its home.
"""

from __future__ import annotations

import json
import secrets as randomness
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from house import House
from identity_provider import JOB, RUNNER, provider
from peers import free_port
from person import Done, Ferry
from stored_models import put_model
from wiretap import Onlooker, Wiretap, found, spellings

from cli.demo_browser import DemoBrowser
from registry.auth.keys import load_key
from registry.net.http import Http
from registry.wire.bodies import read_body
from registry.wire.headers import Headers
from registry.wire.messages import Request

PAGES = (
    "/models",
    "/models/ada/tiny",
    "/keys",
    "/account",
    "/shares/ada",
    "/admin/users",
    "/admin/audit",
    "/admin/system",
    "/signin",
)
# What is to hold a secret, by name or by how that ends.
KEEPERS = ("id_ed25519", "credentials.toml", "config.json", "api-key")
KEEPING = ".token"  # what a CI job got for its one ID token


class Life:
    """What ada did, and everything that was said of it."""

    def __init__(self, folder: Path) -> None:
        self.tap = Wiretap()
        self.onlooker = Onlooker()
        self.folder = folder
        (folder / "host").mkdir()
        self.ada = Ferry(folder / "ada")
        self.ada.home.mkdir()
        self.tap.target = ("127.0.0.1", free_port())
        self.house = House(Ferry(folder / "host"), "--public-url", f"http://{self.tap.host}")
        self.house.host = f"127.0.0.1:{self.tap.target[1]}"
        self.house.open()
        self.password, self.later = (randomness.token_urlsafe(16) for _ in range(2))
        self.said: list[tuple[str, str]] = []
        self.pages: dict[str, bytes] = {}

    def close(self) -> None:
        self.onlooker.close()
        self.house.close()
        self.tap.close()

    def do(
        self,
        *words: str,
        hidden: bool = False,
        stdin: str = "",
        key: str = "",
        told: Mapping[str, str] | None = None,
    ) -> Done:
        """A command with --debug; `hidden`: its standard output is the secret that it was asked for."""
        environ = {"FERRY_API_KEY": key, "FERRY_REGISTRY": self.tap.host} if key else {}
        done = Ferry(self.ada.home, {**environ, **(told or {})})(*words, "--debug", stdin=stdin)
        self.said.append((" ".join(words), done.err if hidden else done.out + done.err))
        return done

    def live(self) -> None:
        """All of it, once well and once not."""
        at = self.tap.host
        browser = self.house.set_up("ada", self.password)
        self._sign_in(browser)
        put_model(self.ada.models, f"{at}/ada/tiny/1.0", b"GGUF" + bytes(300_000))
        self.do("push", f"{at}/ada/tiny:1.0", "--private").well()
        key = self.do("keys", "create", "--note", "ci", "--host", at, hidden=True).well().out.strip()
        self.do("signin", at, "--page", hidden=True).well()
        self.do("pull", f"{at}/ada/tiny:1.0", "--models", "other", key=key).well()
        self.do("whoami", at, "--format", "json", key=key).well()
        self.do("login", f"{at}/ada", "--api-key-stdin", stdin=key).well()
        self.do("tags", f"{at}/ada/tiny").well()
        self.do("doctor", f"{at}/ada/tiny:1.0").well()
        self.do("api", "GET", "/api/account", "--host", at, "--format", "json", key=key).well()
        rows = self.do("keys", "list", "--host", at, "--format", "json").well().json
        (ci,) = [row["id"] for row in rows if row["note"] == "ci"]
        self.do("keys", "rotate", ci, "--overlap", "0", "--host", at, hidden=True).well()
        assert self.do("tags", f"{at}/ada/tiny").code == 4  # with the key that leaked, and is dead
        assert self.do("whoami", at, key=key).code == 4
        assert self.do("login", at, "-u", "ada", "--password-stdin", stdin=self.password).code == 4
        self.do("logout", f"{at}/ada").well()
        self.do("keys", "revoke", ci, "--host", at).well()
        invited = ("api", "POST", "/api/users", "--data", '{"name":"ben"}', "--host", at)
        assert "/invitation#" in self.do(*invited, hidden=True).well().out
        self._run_jobs()
        self._read_pages(browser)
        changed = json.dumps({"old": self.password, "new": self.later})
        self.do("api", "PUT", "/api/password", "--data", "-", "--host", at, stdin=changed).well()
        self.do("signout", at).well()
        browser.close()

    def secrets(self) -> dict[str, set[bytes]]:
        """Every one, by kind."""
        key = load_key(self.ada.home / ".ollama" / "id_ed25519")
        body = "".join(line for line in key.openssh().splitlines() if not line.startswith("-"))
        own = {
            "password": {self.password.encode(), self.later.encode()},
            "runner's token": {RUNNER.encode()},
            "private key": {body[100:180].encode(), key.seed.hex().encode()},
        }
        return {**self.tap.secrets(), **own}

    def _run_jobs(self) -> None:
        """As a job of GitHub's, as one of GitLab's, and as one that no publisher takes."""
        with provider() as ci:
            owner = f"repository_owner_id={JOB['repository_owner_id']}"
            self.house("publisher", "add", "ada/ci", "--issuer", ci.url, "--claim", owner).well()
            push = ("push", f"{self.tap.host}/ada/tiny:1.0", f"{self.tap.host}/ada/ci:1.0")
            asking = {"FERRY_REGISTRY": self.tap.host, **ci.environment}
            given = {"FERRY_REGISTRY": self.tap.host, "GITLAB_CI": "true"}
            given["FERRY_ID_TOKEN"] = ci.token(f"http://{self.tap.host}")
            self.do(*push, told=asking).well()
            for words in (push, ("whoami", self.tap.host)):
                self.do(*words, told=given).well()
            ci.claims["repository_owner_id"] = "66"
            for words in (("whoami", self.tap.host), ("tags", f"{self.tap.host}/ada/ci")):
                self.do(*words, told=asking).well()  # by the key of this machine

    def _sign_in(self, browser: DemoBrowser) -> None:
        process = self.ada.start("signin", self.tap.host)
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(4)]
        page, code = told[1].removeprefix(f"http://{self.tap.host}"), told[3]
        browser.send(page, code=code, password=self.password, do="approve")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        self.said.append(("signin", out + err))

    def _read_pages(self, browser: DemoBrowser) -> None:
        http = Http()
        for page in (*PAGES, "/metrics", "/healthz"):
            cookie = Headers({"Cookie": browser.cookie})
            answer = http(Request("GET", f"http://{self.tap.host}{page}", cookie))
            self.pages[page] = read_body(answer, 2**20, "reading", "here")
        http.close()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    made = Life(tmp_path_factory.mktemp("life"))
    try:
        made.live()
        yield made
    finally:
        made.close()


def test_there_are_secrets_to_look_for(life: Life) -> None:
    """Of each kind; and each was seen where it belongs, so that it would be found elsewhere."""
    known = life.secrets()
    assert [kind for kind, each in known.items() if not each] == []
    assert set(found(life.tap.secrets(), life.tap.passed)) == life.tap.secrets().keys()
    assert quote("a b", safe="").encode() in spellings(b"a b")


def test_no_output_shows_one(life: Life) -> None:
    assert len(life.said) > 15
    shown = {command: found(life.secrets(), said.encode()) for command, said in life.said}
    assert {command: kinds for command, kinds in shown.items() if kinds} == {}


def test_no_log_has_one(life: Life) -> None:
    assert "POST /api/credentials" in life.house.log
    assert found(life.secrets(), life.house.log.encode()) == []


def test_no_programs_arguments_have_one(life: Life) -> None:
    assert any(b"\0signin\0" in line for line in life.onlooker.seen)  # most others are forked
    assert found(life.secrets(), b"\n".join(life.onlooker.seen)) == []


def test_neither_audit_nor_metrics_nor_pages_have_one(life: Life) -> None:
    """But for the token of its own forms, which a page is made with."""
    audit = life.house("audit", "--format", "json").well().out
    assert "ada" in audit and found(life.secrets(), audit.encode()) == []
    kinds = {kind: each for kind, each in life.secrets().items() if kind != "form"}
    assert b"ferry_requests_total" in life.pages["/metrics"] and b"ada" in life.pages["/keys"]
    assert {page: found(kinds, body) for page, body in life.pages.items() if found(kinds, body)} == {}


@pytest.mark.parametrize("what", ["data", "backup", "backup --with-blobs"])
def test_neither_the_database_nor_a_backup_has_one(life: Life, what: str) -> None:
    """What is kept of a secret is its hash; the database's own write-ahead log counts too."""
    if what == "data":
        files = [path for path in life.house.data.rglob("*") if path.is_file()]
    else:
        files = [life.folder / f"{what.replace(' ', '')}.backup"]
        life.house("backup", files[0], *what.split()[1:]).well()
    assert sum(path.stat().st_size for path in files) > 50_000
    assert {path.name: found(life.secrets(), path.read_bytes()) for path in files} == {
        path.name: [] for path in files
    }


def test_what_a_client_leaves_behind_has_none_but_where_it_is_kept(life: Life) -> None:
    files = [path for path in life.folder.joinpath("ada").rglob("*") if path.is_file()]
    others = [path for path in files if path.name not in KEEPERS and path.suffix != KEEPING]
    assert len(others) > 5 and len(files) > len(others)
    assert {path.name: kinds for path in others if (kinds := found(life.secrets(), path.read_bytes()))} == {}


def test_a_crash_leaves_none_in_an_image_of_memory(ferry: Ferry) -> None:
    """Also where the limit it was started with allows such images."""
    script = (
        "import os, resource, sys\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "from cli import main\n"
        "main.app = None\n"  # what it would do now: crash
        "try:\n    main.main(['version'])\nexcept BaseException:\n    pass\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ferry.env(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0", done.stderr
