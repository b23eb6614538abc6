"""The clients people have sign in with an API key as their password: crane, oras, skopeo (as podman), regctl.

Each pushes and pulls a private repository, may not do what its key is not for, and is shut out by the very
next request when the key is revoked.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from peers import Answer, Tool, find, http_call

from registry.server.api_keys import Made
from registry.server.key_scopes import parse_scopes
from registry.server.service import Plan, Service

REPOSITORY = "ada/notes"


@dataclass(frozen=True)
class Private:
    """A registry with one account, `ada`."""

    service: Service
    url: str

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def name(self) -> str:
        return f"{self.host}/{REPOSITORY}:v1"

    def key(self, scope: str) -> Made:
        registry = self.service.registry
        return registry.api_keys.create(registry.accounts.user("ada"), parse_scopes([scope]))

    def revoke(self, made: Made) -> None:
        self.service.registry.credentials.revoke("ada", made.id)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    service = Service(Plan(tmp_path_factory.mktemp("private") / "data"))
    service.registry.accounts.add_user("ada")
    yield Private(service, service.start())
    service.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a client keeps its logins, and what it is to push."""
    (tmp_path / "notes.txt").write_bytes(b"about the model\n")
    return tmp_path


def at(tool: Tool, home: Path) -> Tool:
    """The program with a home of its own."""
    settings = {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "REGCTL_CONFIG": str(home / "regctl"),
    }
    return replace(tool, env={**tool.env, **settings}, cwd=home)


def sign_in_with_crane(tool: Tool, private: Private, secret: str) -> None:
    tool("auth", "login", private.host, "-u", "anything", "--password-stdin", stdin=secret.encode())


def sign_in_with_oras(tool: Tool, private: Private, secret: str) -> None:
    tool("login", "--plain-http", private.host, "-u", "anything", "--password-stdin", stdin=secret.encode())


def sign_in_with_regctl(tool: Tool, private: Private, secret: str) -> None:
    tool("registry", "set", "--tls", "disabled", private.host)
    tool("registry", "login", private.host, "-u", "anything", "--pass-stdin", stdin=secret.encode())


def sign_in_with_skopeo(tool: Tool, private: Private, secret: str) -> None:
    words = ("login", "--tls-verify=false", "--authfile", "auth.json", "-u", "anything", "--password-stdin")
    tool(*words, private.host, stdin=secret.encode())


SIGN_IN: dict[str, Callable[[Tool, Private, str], None]] = {
    "crane": sign_in_with_crane,
    "oras": sign_in_with_oras,
    "regctl": sign_in_with_regctl,
    "skopeo": sign_in_with_skopeo,
}


_NOTES = ("--artifact-type", "application/x-notes", "-f", "notes.txt")


def words(program: str, do: str, name: str) -> tuple[str, ...]:
    """A push of a small artifact, a pull of it, and its deletion, in a program's words."""
    skopeo = ("--tls-verify=false", "--authfile", "auth.json")
    both = ("--src-tls-verify=false", "--dest-tls-verify=false", "--authfile", "auth.json")
    table = {
        ("crane", "push"): ("append", "--new_layer", "layer.tar", "--new_tag", name),
        ("crane", "pull"): ("manifest", name),
        ("crane", "delete"): ("delete", name),
        ("oras", "push"): ("push", "--plain-http", name, "notes.txt:text/plain"),
        ("oras", "pull"): ("pull", "--plain-http", "--output", "out", name),
        ("oras", "delete"): ("manifest", "delete", "--force", "--plain-http", name),
        ("regctl", "push"): (
            "artifact",
            "put",
            "--artifact-type",
            "application/x-notes",
            "-f",
            "notes.txt",
            name,
        ),
        ("regctl", "pull"): ("artifact", "get", name),
        ("regctl", "delete"): ("tag", "rm", name),
        ("skopeo", "push"): ("copy", *both, f"docker://{name}", f"docker://{name}-copy"),
        ("skopeo", "pull"): ("inspect", "--raw", *skopeo, f"docker://{name}"),
        ("skopeo", "delete"): ("delete", *skopeo, f"docker://{name}"),
    }
    return table[program, do]


@pytest.fixture(params=[*SIGN_IN])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def regctl() -> Tool:
    return Tool((find("regctl"),))


@pytest.fixture
def client(program: str, request: pytest.FixtureRequest, home: Path) -> Tool:
    tool = request.getfixturevalue(program)
    assert isinstance(tool, Tool)
    return at(tool, home)


def test_a_client_works_with_an_api_key_until_it_is_revoked(
    private: Private, client: Tool, program: str, oras: Tool, home: Path
) -> None:
    made = private.key("ada/*:push")
    if program == "skopeo":  # it copies what is there
        first = private.key("ada/*:push")
        sign_in_with_oras(at(oras, home), private, first.secret)
        at(oras, home)(*words("oras", "push", private.name))
    if program == "crane":
        layer(home / "layer.tar")
    SIGN_IN[program](client, private, made.secret)

    client(*words(program, "push", private.name))
    client(*words(program, "pull", private.name))
    assert client.run(*words(program, "delete", private.name)).code != 0
    assert b"v1" in tags(private, made.secret).body
    private.revoke(made)

    for do in ("pull", "push"):
        assert client.run(*words(program, do, private.name)).code != 0
    assert tags(private, made.secret).status == 401


def test_podman_works_with_an_api_key_until_it_is_revoked(private: Private, home: Path) -> None:
    """By hand, as its packages are many: apt-get install podman, and this test is no longer skipped."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        pytest.skip("podman is not installed, or may not unpack an image here")
    (home / "Containerfile").write_text("FROM scratch\nCOPY notes.txt /notes.txt\n")
    made, name = private.key("ada/*:push"), f"{private.host}/ada/image:1"
    short = Path(tempfile.mkdtemp(prefix="p"))  # podman takes no longer path for what it runs with
    storage = ("--root", str(home / "root"), "--runroot", str(short), "--storage-driver", "vfs")
    podman = at(Tool(("podman", *storage)), home)
    there = ("--tls-verify=false", "--authfile", "auth.json")
    podman("login", *there, "-u", "anything", "--password-stdin", private.host, stdin=made.secret.encode())
    podman("build", "--isolation", "chroot", "-t", name, ".")
    podman("push", *there, name)
    podman("rmi", "-f", name)
    podman("pull", *there, name)
    private.revoke(made)
    podman("rmi", "-f", name)
    assert podman.run("pull", *there, name).code != 0
    shutil.rmtree(short)


def test_a_client_with_a_wrong_key_is_told_at_once(private: Private, client: Tool, program: str) -> None:
    made = private.key("ada/*:pull")
    private.revoke(made)
    with pytest.raises(AssertionError, match=r"(?i)unauthorized|invalid|401|denied"):
        SIGN_IN[program](client, private, made.secret)
        client(*words(program, "pull", private.name))


def test_whoever_has_a_key_for_deleting_deletes(private: Private, oras: Tool, home: Path) -> None:
    writes, deletes = private.key("ada/*:push"), private.key("ada/*:delete")
    tool = at(oras, home)
    sign_in_with_oras(tool, private, writes.secret)
    tool(*words("oras", "push", private.name))
    sign_in_with_oras(tool, private, deletes.secret)
    assert tool.run(*words("oras", "push", private.name.replace("v1", "v2"))).code != 0
    tool(*words("oras", "delete", private.name))
    assert json.loads(tags(private, writes.secret).body)["tags"] in ([], ["v1-copy"])


def tags(private: Private, secret: str) -> Answer:
    """The tags, with the key shown directly."""
    url = f"{private.url}/v2/{REPOSITORY}/tags/list"
    return http_call("GET", url, headers={"Authorization": f"Bearer {secret}"})


def layer(path: Path) -> None:
    """A layer with one file in it."""
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_name("notes.txt"), "notes.txt")
