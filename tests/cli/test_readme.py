"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import House
from peers import Registry, find, tls_front
from person import Ferry
from shell import ROOT, Ended, bash, put_ferry
from stored_models import put_model

from registry import errors

PASSWORD = "seven grey herons"
README = (ROOT / "README.md").read_text()
FIXTURES = ROOT / "fixtures"
BEN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF7xVYAomqO1w7CLpUZxGk7QqpNpFTHOmGkzoTmHZZD/ ben@laptop\n"


def recipe(mark: str) -> str:
    """The script that the blocks marked `run=mark` make together."""
    blocks = re.findall(rf"^```sh run={mark}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks, f"the README has no recipe {mark}"
    return "".join(blocks)


def put_sources(folder: Path) -> None:
    """A Modelfile and what it names."""
    shutil.copytree(FIXTURES, folder, dirs_exist_ok=True)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """PATH and a home, nothing else."""
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "PATH": f"{put_ferry(tmp_path / 'bin')}:/usr/bin:/bin"}


def test_the_two_commands_stand_there_word_for_word() -> None:
    demo = "python3 -m venv .venv && .venv/bin/pip install '.[server]' && .venv/bin/ferry demo\n"
    assert f"\n{demo}" in README
    assert "\ntests/run\n" in README
    assert (ROOT / "tests" / "run").stat().st_mode & 0o111


def test_ferry_is_installed_from_a_checkout_and_no_index_of_packages_is_named() -> None:
    """A name that is not ours there may be anybody's tomorrow."""
    sources = [path for room in ("cli", "registry") for path in (ROOT / room).rglob("*.py")]
    texts = [README, *(path.read_text() for path in sources)]
    assert len(texts) > 100
    for text in texts:
        found = re.search(r"pypi|package index|pipx? install (?!(-\S+ )?'\.)", text, re.IGNORECASE)
        assert found is None, text[found.start() :][:200]


def test_a_private_registry_in_five_minutes(bare: dict[str, str]) -> None:
    home = Path(bare["HOME"])
    put_sources(home)
    (home / "ben.pub").write_text(BEN)
    script = recipe("registry")
    serve, signin, rest = script.split("\n", 2)
    assert serve == "ferry serve --data registry &"
    house = House(Ferry(home), data=home / "registry").open()
    try:
        sign_in(house, signin.replace("127.0.0.1:5050", house.host), home, bare)
        for line in rest.strip().splitlines():
            done = bash(line.replace("127.0.0.1:5050", house.host), home, bare)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    finally:
        house.close()


def sign_in(house: House, line: str, home: Path, env: dict[str, str]) -> None:
    """Make the first account, `ada`, and approve there the machine that runs `line`."""
    browser = house.set_up("ada", PASSWORD)
    process = subprocess.Popen(["bash", "-c", line], cwd=home, env=env, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(4)]
    page, code = told[1].removeprefix(f"http://{house.host}"), told[3]
    browser.send(page, code=code, password=PASSWORD, do="approve")
    said = process.stdout.read()
    assert process.wait() == 0 and "as ada" in said, (told, said)
    watchdog.cancel()
    process.stdout.close()
    browser.close()


def test_signing_in_and_out(bare: dict[str, str]) -> None:
    home = Path(bare["HOME"])
    house = House(Ferry(home), data=home / "registry").open()
    try:
        signin, *lines = recipe("signin").replace("models.acme.example", house.host).strip().splitlines()
        sign_in(house, signin, home, bare)
        told = [bash(line, home, bare) for line in lines]
        assert [done.returncode for done in told] == [0, 0, 0], [done.stderr for done in told]
        assert f"http://{house.host}/page#" in told[0].stdout and "signed out" in told[2].stdout
    finally:
        house.close()


def test_an_api_key_is_made_used_kept_and_revoked_and_other_clients_take_it(tmp_path: Path) -> None:
    """As ada, who has signed in and published tiny. What the other programs keep, Ferry finds."""
    programs = {str(Path(find(program)).parent) for program in ("crane", "oras", "skopeo")}
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    path = ":".join((str(put_ferry(tmp_path / "bin")), *programs, "/usr/bin", "/bin"))
    env = {"HOME": str(home), "PATH": path, "XDG_RUNTIME_DIR": str(home / "run")}
    house = House(Ferry(home), data=home / "registry").open()
    try:
        sign_in(house, f"ferry signin {house.host}", home, env)
        put_model(home / ".ollama" / "models", f"{house.host}/ada/tiny/1.0")
        *lines, revoke = recipe("keys").strip().splitlines()
        asks = f"ferry whoami {house.host}"
        key = home / ".ollama" / "id_ed25519"
        script = (
            *("set -e", f"ferry push {house.host}/ada/tiny:1.0", *lines, f"ferry logout {house.host}/ada"),
            *(f"mv {key} aside", recipe("others"), f"mv aside {key}", revoke, f"! {asks} 2>&1"),
        )
        done = bash("\n".join(script).replace("127.0.0.1:5050", house.host), home, env, 120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"schemaVersion":2') == 3
        assert f"ada at {house.host}, with the API key that ends in" in done.stdout
        assert "invalid or revoked" in done.stdout or "does not accept" in done.stdout
    finally:
        house.close()


def test_a_team_has_an_organisation_a_service_account_and_tags_that_stay(bare: dict[str, str]) -> None:
    home = Path(bare["HOME"])
    (home / "ben.pub").write_text(BEN)
    house = House(Ferry(home), data=home / "registry").open()
    try:
        sign_in(house, f"ferry signin {house.host}", home, bare)
        put_model(home / ".ollama" / "models", f"{house.host}/ada/tiny/1.0")
        script = f"set -e\nferry admin user add ben --key ben.pub --data registry\n{recipe('team')}"
        done = bash(script.replace("127.0.0.1:5050", house.host), home, bare, 120)
        assert done.returncode == 0, done.stderr
        assert "acme  ada (owner)" in done.stdout
        put_model(home / ".ollama" / "models", f"{house.host}/acme/tiny/v1", b"other weights")
        secret = (home / "ci-key").read_text().strip()
        assert secret.startswith("fry_sa_")
        asks = {**bare, "FERRY_REGISTRY": house.host, "FERRY_API_KEY": secret}
        again = bash(f"ferry push {house.host}/acme/tiny:v1", home, asks)
        assert (again.returncode, "the tags 'v*' of acme are immutable" in again.stderr) == (7, True)
        who = bash(f"ferry whoami {house.host}", home, asks)
        assert f"acme/ci at {house.host}" in who.stdout, who.stderr
    finally:
        house.close()


def test_pull_on_a_laptop_that_runs_ollama(
    bare: dict[str, str], house: House, people: Callable[[str], Ferry]
) -> None:
    ada = people("ada")
    put_model(ada.models, f"{house.host}/ada/tiny/1.0")
    ada("push", f"{house.host}/ada/tiny:1.0").well()
    env = {**bare, "FERRY_KEY": (ada.home / ".ollama" / "id_ed25519").read_text()}
    done = bash("set -e\n" + recipe("laptop").replace("127.0.0.1:5050", house.host), Path(env["HOME"]), env)
    assert done.returncode == 0, done.stderr
    assert "tiny:latest" in done.stdout
    model = Path(env["HOME"]) / ".ollama/models/manifests/registry.ollama.ai/library/tiny/latest"
    assert model.is_file()


def test_a_cncf_registry_will_do(bare: dict[str, str], docker_registry: Registry) -> None:
    home = Path(bare["HOME"])
    put_model(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/1.0")
    script = recipe("cncf").replace("localhost:5000", docker_registry.host)
    done = bash(f"set -e\n{script}", home, bare)
    assert done.returncode == 0, done.stderr
    assert (home / ".ollama/models/manifests" / docker_registry.host / "acme/tiny/1.0").is_file()


def test_what_nginx_is_told_lets_a_model_pass(
    bare: dict[str, str], docker_registry: Registry, tmp_path: Path
) -> None:
    home = Path(bare["HOME"])
    put_model(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/1.0", b"GGUF" + bytes(2**21))
    (location,) = re.findall(r"^  ```nginx\n(.*?)^  ```", README, re.MULTILINE | re.DOTALL)
    location = location.replace("127.0.0.1:5000", docker_registry.host)
    with tls_front(tmp_path / "front", docker_registry.host, location) as front:
        script = f"ferry push tiny:1.0 {front.host}/behind/nginx && ferry tags {front.host}/behind/nginx"
        done = bash(script, home, {**bare, "FERRY_TLS_CA": str(front.ca)})
    assert done.returncode == 0, done.stderr
    assert "1.0" in done.stdout


def test_every_documented_exit_code_is_the_code_of_its_error() -> None:

    rows = {
        int(found)
        for cell in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE)
        for found in cell.split(",")
    }
    known = {error.exit for error in errors.RegistryError.__subclasses__()}
    assert rows == known | {0, 1, errors.INTERRUPTED, errors.TERMINATED}


def test_the_settings_it_shows_are_accepted(ferry: Ferry) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for text in blocks:
        ferry.settings(text)
        ferry("list").well()


# --- publishing from CI ------------------------------------------------------------------------------------


@pytest.fixture
def ci_key(house: House, acme: Ferry, people: Callable[[str], Ferry]) -> str:
    """The text of the key that may publish in the namespace acme."""
    runner = people("ci")
    if not (runner.home / ".ollama").exists():
        house.welcome(runner, "ci")
        house("grant", "ci", acme.home.name, "write").well()
    return (runner.home / ".ollama" / "id_ed25519").read_text()


def in_ci(tmp_path: Path, key: str, house: House) -> Ended:
    """Run the recipe as CI does: no HOME, no terminal, a read-only root but for $TMPDIR.

    What it leaves in pushed.json is read out of there at the end, as standard output; its log follows.
    """
    work, tmp = tmp_path / "work", tmp_path / "tmp"
    for folder in (work, tmp):
        folder.mkdir()
    put_sources(work)
    path = f"{put_ferry(tmp_path / 'bin', confined=True)}:/usr/bin:/bin"
    recipe_then_result = f'sh -eu -c "$1" >{tmp}/log; code=$?; cat {tmp}/pushed.json {tmp}/log; exit $code'
    runner = (
        f"mount -o remount,ro,bind / && mount -t tmpfs none {tmp} && cd {work} && "
        f'exec env -i PATH={path} TMPDIR={tmp} VERSION=1.0 FERRY_KEY="$KEY" '
        f"sh -c '{recipe_then_result}' ci \"$SCRIPT\""
    )
    script = recipe("ci").replace("models.acme.example", house.host)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", runner],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "KEY": key, "SCRIPT": script},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def document_and_log(done: Ended) -> tuple[dict[str, Any], str]:
    """The one document that pushed.json holds, and the lines that a CI system would log."""
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    return document, done.stdout[end:].lstrip("\n")


def may_unshare() -> bool:
    probe = ["unshare", "--mount", "sh", "-c", "mount -o remount,ro,bind /"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not may_unshare(), reason="a read-only root needs the right to mount")


@needs_mounts
def test_publishing_from_ci_works_as_written(
    house: House, people: Callable[[str], Ferry], ci_key: str, tmp_path: Path
) -> None:
    done = in_ci(tmp_path, ci_key, house)
    assert (done.returncode, done.stderr) == (0, "")
    told, log = document_and_log(done)
    assert log == ""
    assert told["name"] == f"{house.host}/acme/tiny:1.0"
    assert {blob["how"] for blob in told["blobs"]} == {"uploaded"}
    tags = people("ci")("tags", f"{house.host}/acme/tiny", "--format", "json").well().json
    assert ("1.0", told["digest"]) in [(row["tag"], row["digest"]) for row in tags]


@needs_mounts
def test_publishing_from_ci_with_an_unknown_key_says_so_as_data(
    house: House, people: Callable[[str], Ferry], tmp_path: Path
) -> None:
    stranger = people("stranger")
    stranger("signin", house.host, "--give-up-after", "0")  # makes a key, which nobody knows
    key = (stranger.home / ".ollama" / "id_ed25519").read_text()
    done = in_ci(tmp_path, key, house)
    assert done.returncode == 4
    assert document_and_log(done)[0]["error"]["class"] == "DeniedError"
    assert key.splitlines()[1] not in done.stdout + done.stderr
