"""Every example in a help text works as it stands, in a home where what it names is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from data_directory import prepared, with_a_team, with_api_key, with_publisher
from house import House
from person import Ferry
from pretend_accounts import PretendAccounts
from shell import ROOT, bash, put_ferry
from stored_models import put_model

from cli.main import app
from cli.settings import credentials as kept
from registry.auth.keys import ensure_key
from registry.auth.secrets import ApiKey

KEYS = {
    "ada.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF7xVYAomqO1w7CLpUZxGk7QqpNpFTHOmGkzoTmHZZD/",
    "laptop.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHWyAH9u6MTjlxJgKtlGiBoAI5KBYpOqRD8xOeBBZX7",
    "root.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHuy9ybDCh4YoAYHh+DDSl0Qk5iVnbOXJoUm3qgXo5Dl",
}
PLAIN = re.compile(r"ferry [\w ./:@,=-]+")  # means the same without a shell
ABOUT_ACCOUNTS = ("signin", "signout", "login", "logout", "keys")  # what these do cannot be done twice
# What test_serve_commands, test_demo, test_gateway_command and test_api run.
RUN_BY_OTHERS = ("ferry serve", "ferry demo", "ferry gateway", "ferry api POST")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def options(path: tuple[str, ...]) -> list[str]:
    """The options that a command does not hide, each by its longest spelling."""
    command: click.Command = app
    for word in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    return [max(each.opts, key=len) for each in shown]


def examples(help_text: str) -> list[str]:
    """The indented lines that begin with ferry, without what is explained behind two spaces."""
    lines = [line.strip() for line in help_text.splitlines() if re.match(r"^    \S", line)]
    found = [re.split(r"  +", line)[0] for line in lines if "ferry " in line]
    return [line for line in found if re.match(r'(ferry |eval "\$\(ferry )', line)]


@pytest.fixture(scope="session")
def owner(house: House, acme: Ferry) -> Ferry:
    """The owner of the namespace acme, in which tiny:1.0 is published."""
    for model, tag in (("tiny", "1.0"), ("tiny", "latest"), ("old", "1.0")):
        put_model(acme.models, f"{house.host}/acme/{model}/{tag}")
        acme("push", f"{house.host}/acme/{model}:{tag}").well()
    return acme


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's data, to be copied: to make it takes longer than what most examples do with it."""
    return prepared(tmp_path_factory.mktemp("served") / "data")


@pytest.fixture
def shell(
    tmp_path: Path, house: House, owner: Ferry, served: Path
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """A shell in a home with what the examples name: models, keys, files, a registry's data."""
    home = tmp_path / "home"
    (home / ".config" / "fish" / "completions").mkdir(parents=True)
    for file, line in KEYS.items():
        (home / file).write_text(line + "\n")
    models = home / ".ollama" / "models"
    for tag in ("latest", "1.0", "2.0"):
        put_model(models, f"registry.ollama.ai/library/tiny/{tag}")
    put_model(models, f"{house.host}/acme/tiny/1.0")
    shutil.copytree(ROOT / "fixtures", home, dirs_exist_ok=True)
    shutil.copytree(served, home / "served")
    env = {
        "HOME": str(home),
        "PATH": f"{put_ferry(tmp_path / 'bin')}:/usr/bin:/bin",
        "FERRY_KEY": (owner.home / ".ollama" / "id_ed25519").read_text(),
        "FERRY_REGISTRY": "",
        "FERRY_DATA": str(home / "served"),
    }

    def run(line: str) -> subprocess.CompletedProcess[str]:
        line = line.replace("models.acme.example", house.host).replace("other.example", house.host)
        line = line.replace("/srv/ferry", str(home / "served"))
        registry = house.host if line.split()[1:] == ["signin"] else ""
        return run_in(home, line, {**env, "FERRY_REGISTRY": registry})

    return run


def run_in(home: Path, line: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The line as a shell runs it, but without one where it needs none."""
    if PLAIN.fullmatch(line):
        words = line.split()[1:]
        done = Ferry(home, env)(*words)
        return subprocess.CompletedProcess(words, done.code, done.out, done.err)
    return bash(line, home, env)


@pytest.fixture
def shell_of_ada(tmp_path: Path) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """A shell in a home whose key is known at a registry, with credentials and logins to do away with."""
    home = tmp_path / "home"
    key = ensure_key(home / ".ollama" / "id_ed25519", bytes(range(32)))
    with PretendAccounts() as accounts:
        accounts.approve(key.public, "ada")
        for id in ("7f3a", "7f3b"):
            accounts.make_api_key("ada").id = id
        for file in ("api-key", "password"):
            (home / file).write_text(accounts.make_api_key("ada").secret)
        for place in (accounts.host, f"{accounts.host}/acme"):
            kept.keep(home / ".config" / "ferry", place, ApiKey("k"))
        env = {"HOME": str(home), "PATH": f"{put_ferry(tmp_path / 'bin')}:/usr/bin:/bin"}

        def run(line: str) -> subprocess.CompletedProcess[str]:
            accounts.approve(key.public, "ada")
            if line.startswith("ferry keys") or line.endswith("--page"):
                shutil.rmtree(home / ".config", ignore_errors=True)  # an API key does not manage credentials
            line = re.sub(r"models\.acme\.example|ghcr\.io", accounts.host, line)
            return run_in(home, line, {**env, "FERRY_REGISTRY": accounts.host})

        yield run


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(path)) for path in commands(app)])
def test_help_fits_a_screen_and_its_two_examples_work(
    path: tuple[str, ...], ferry: Ferry, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shell = request.getfixturevalue("shell_of_ada" if path[0] in ABOUT_ACCOUNTS else "shell")
    text = ferry(*path, "--help").well().out
    assert text.count("\n") <= 24
    assert [option for option in options(path) if option not in text] == []
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines()[1:] if line.endswith("...")]  # what does not fit
    found = examples(text)
    assert len(found) == 2
    if (path[0] == "admin" and path[-1] not in ("admin", "add", "user")) or path[-2:] == ("key", "add"):
        shell("ferry admin user add ada").check_returncode()
    if path[-1] == "restore":
        shell("ferry admin backup registry-backup.db").check_returncode()
        shell("ferry admin backup monday.tar --with-blobs").check_returncode()
    if path == ("admin", "key", "revoke"):
        shell("ferry admin key add ada ada.pub").check_returncode()
    if path == ("admin", "publisher", "remove"):
        with_publisher(tmp_path / "home" / "served", "5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11")
    if path[:2] == ("admin", "apikey"):
        with_api_key(tmp_path / "home" / "served", "5f3c9d1e-6a0b-4f7e-9a35-2b8f6f0c1d11")
    if path[:2] in (("admin", "org"), ("admin", "service")) and len(path) == 3:
        with_a_team(tmp_path / "home" / "served", taken=path[2] != "add")
    for line in found:
        if not line.startswith(RUN_BY_OTHERS):
            done = shell(line)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_the_first_help_fits_a_screen_and_its_examples_work(
    ferry: Ferry, shell: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    text = ferry("--help").well().out
    assert text.count("\n") <= 24
    assert max(map(len, text.splitlines())) <= 80
    demo, pull = examples(text)
    assert demo == "ferry demo"
    assert shell(pull).returncode == 0
