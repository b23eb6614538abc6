"""`ferry signin`, `signout` and what they say, at a registry whose accounts a test can approve at will."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from house import House
from person import Ferry, quick
from pretend_accounts import CODE, Credential, PretendAccounts
from real_accounts import AnyAccounts
from spy import Spy, reply

from cli.settings import machine
from registry.auth.keys import PublicKey, load_key
from registry.auth.signin import Me, until_approved
from registry.errors import RegistryError, TransientError

OVERLAY = (
    "21 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a\n"
    "22 21 8:1 / /home/ada/my\\040keys rw - ext4 /dev/sda1 rw\n"
    "23 21 0:21 / /dev/shm rw - tmpfs tmpfs rw\n"
)


def key_of(person: Ferry) -> PublicKey:
    return load_key(person.home / ".ollama" / "id_ed25519").public


def waiting(person: Ferry, accounts: PretendAccounts, *words: str) -> subprocess.Popen[str]:
    """`ferry signin`, begun, and known to have asked once."""
    process = person.start("signin", accounts.host, *words, program=quick())
    assert accounts.asked_me.wait(60)
    return process


# --- a key is approved ------------------------------------------------------------------------------------


def test_it_makes_the_key_says_which_waits_and_ends_when_it_is_approved(
    ferry: Ferry, pretended: PretendAccounts
) -> None:
    process = waiting(ferry, pretended)
    pretended.approve(key_of(ferry), "ada")
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    key = key_of(ferry)
    assert f"http://{pretended.host}/connect?name=" in out and f"&key={key.connect}" in out
    assert CODE in out
    for told in (
        key.fingerprint,
        str(ferry.home / ".ollama" / "id_ed25519"),
        str(ferry.home),
        getpass.getuser(),
    ):
        assert told in out
    assert out.splitlines()[-1].startswith(f"you are signed in at {pretended.host} as ada")
    assert "10 min at most" in err


def test_json_is_a_line_a_state(ferry: Ferry, pretended: PretendAccounts) -> None:
    process = waiting(ferry, pretended, "--format", "json")
    pretended.approve(key_of(ferry), "ada")
    out, _ = process.communicate(timeout=60)

    opened, approved = map(json.loads, out.splitlines())
    assert (opened["state"], opened["code"]) == ("open", CODE)
    assert (
        opened["url"].endswith(key_of(ferry).connect) and opened["fingerprint"] == key_of(ferry).fingerprint
    )
    assert (approved["state"], approved["name"], process.returncode) == ("approved", "ada", 0)


def test_nobody_approves_it(ferry: Ferry, accounts: AnyAccounts) -> None:
    done = ferry("signin", accounts.host, "--give-up-after", "0", "--format", "json")
    opened, ended = map(json.loads, done.out.splitlines())

    assert done.code == 4
    assert (opened["state"], ended["state"]) == ("open", "given up")
    assert "nobody approved the key" in done.err and f"ferry signin {accounts.host}" in done.err


def test_it_gives_up_after_the_time_that_was_given(ferry: Ferry, pretended: PretendAccounts) -> None:
    done = ferry("signin", pretended.host, "--give-up-after", "1.5s")
    assert done.code == 4 and "1.5 s at most" in done.err
    assert len([seen for seen in pretended.spy.seen if seen.target.startswith("/api/me")]) >= 2


def test_what_it_signs_names_the_host_that_it_is_for(ferry: Ferry, pretended: PretendAccounts) -> None:
    ferry("signin", pretended.host, "--give-up-after", "0")
    calls = [urlsplit(each.target) for each in pretended.spy.seen if each.target.startswith("/api/me")]
    assert calls and all(parse_qs(each.query)["host"] == [pretended.host] for each in calls)


def test_who_is_signed_in_already_is_told_so(ferry: Ferry, accounts: AnyAccounts) -> None:
    ferry("signin", accounts.host, "--give-up-after", "0")
    accounts.approve(key_of(ferry), accounts.ada)

    assert "you are signed in" in ferry("signin", accounts.host).well().out
    (line,) = ferry("signin", accounts.host, "--format", "json").well().out.splitlines()
    assert (json.loads(line)["state"], json.loads(line)["name"]) == ("approved", accounts.ada)


def test_a_registry_without_a_code_shows_none(ferry: Ferry) -> None:
    with PretendAccounts(code="") as accounts:
        done = ferry("signin", accounts.host, "--give-up-after", "0")
        again = ferry("signin", accounts.host, "--give-up-after", "0", "--format", "json")
    assert "this code" not in done.out and json.loads(again.out.splitlines()[0])["code"] is None


def test_a_code_that_is_no_code_is_not_shown(ferry: Ferry) -> None:
    with PretendAccounts(code="\x1b[31mtype your password" + "x" * 40) as accounts:
        assert "password" not in ferry("signin", accounts.host, "--give-up-after", "0").out


def test_a_registry_without_pages_says_what_its_administrator_does(ferry: Ferry) -> None:
    with PretendAccounts() as accounts:
        accounts.pages = False
        done = ferry("signin", accounts.host)
        told = ferry("signin", accounts.host, "--format", "json")
    assert done.code == told.code == 4
    assert key_of(ferry).line in done.out and "ferry admin user add YOU" in done.out
    assert key_of(ferry).line in told.json["error"]["hint"]


def test_a_registry_that_is_busy_for_a_while_is_asked_again(ferry: Ferry, pretended: PretendAccounts) -> None:
    process = waiting(ferry, pretended)
    pretended.busy = 1
    assert pretended.was_busy.wait(60)
    pretended.approve(key_of(ferry), "ada")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "as ada" in out and "still waiting" in err


def test_a_clock_that_is_off_ends_it_at_once(ferry: Ferry) -> None:
    said = b'{"error":"the clocks differ by 900 s, and a signature is good for 300 s"}'
    with Spy((reply(401, said),)) as spy:
        done = ferry("signin", spy.netloc)
    assert done.code == 4 and "900 s" in done.err and "set this machine's clock" in done.err


def test_only_the_key_is_asked_with_and_nothing_else_leaves(ferry: Ferry, pretended: PretendAccounts) -> None:
    """Until a person opens the page, all that a registry hears of is a public key."""
    ferry("signin", pretended.host, "--give-up-after", "0")
    assert [seen.method for seen in pretended.spy.seen] == ["POST", "GET"]
    assert all(getpass.getuser() not in seen.target for seen in pretended.spy.seen)


# --- a browser --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "words", "opens"),
    [
        ({"DISPLAY": ":9"}, (), True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, (), True),
        ({}, (), False),
        ({"DISPLAY": ":9", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, (), False),
        ({"DISPLAY": ":9", "SSH_TTY": "/dev/pts/1"}, (), False),
        ({"DISPLAY": ":9"}, ("--format", "json"), False),
        ({"DISPLAY": ":9"}, ("--page",), False),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    environ: dict[str, str], words: tuple[str, ...], opens: bool, ferry: Ferry, pretended: PretendAccounts
) -> None:
    browser = ferry.home / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {ferry.home}/opened\n')
    browser.chmod(0o755)
    person = Ferry(ferry.home, {**environ, "BROWSER": f"{browser} %s"})
    person("signin", pretended.host, *words, "--give-up-after", "1s")
    opened = ferry.home / "opened"
    until = time.monotonic() + (60 if opens else 0)
    while not opened.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert opened.exists() == opens
    if opens:
        assert opened.read_text().strip().endswith(key_of(ferry).connect)


def test_a_browser_that_stays_open_holds_nothing_up(ferry: Ferry, pretended: PretendAccounts) -> None:
    """It is not waited for, and our output ends with us though the browser goes on."""
    browser = ferry.home / "browser"
    browser.write_text(f"#!/bin/sh\necho noise\necho $$ > {ferry.home}/pid\nexec sleep 300\n")
    browser.chmod(0o755)
    process = waiting(Ferry(ferry.home, {"DISPLAY": ":9", "BROWSER": f"{browser} %s"}), pretended)
    until = time.monotonic() + 60
    while not (ferry.home / "pid").exists() and time.monotonic() < until:
        time.sleep(0.05)
    pretended.approve(key_of(ferry), "ada")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "noise" not in out
    os.kill(int((ferry.home / "pid").read_text()), signal.SIGKILL)  # it still ran


# --- storage that will not last ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/root/.ollama/id_ed25519", "overlay"),
        ("/dev/shm/id_ed25519", "tmpfs"),
        ("/home/ada/my keys/id_ed25519", ""),
        ("/home/ada/my/id_ed25519", "overlay"),
    ],
)
def test_what_goes_with_the_container_is_known(path: str, kind: str) -> None:
    assert machine.passing_storage(Path(path), OVERLAY) == kind


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3\n", "21 1 0:20 / /\n - overlay"])
def test_a_list_of_mounts_that_cannot_be_read_warns_of_nothing(text: str) -> None:
    assert machine.passing_storage(Path("/root/key"), text) == ""


def test_in_a_container_it_warns_of_a_key_that_will_not_last(
    ferry: Ferry, pretended: PretendAccounts
) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or machine.passing_storage(shm / "x", machine.mounts()) != "tmpfs":
        pytest.skip("/dev/shm is not a tmpfs here")
    key = shm / f"ferry-test-{ferry.home.parent.name}-{pretended.spy.port}"
    try:
        words = ("signin", pretended.host, "--key", key, "--give-up-after", "0")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        inside = ferry(*words, container="podman")
    finally:
        for path in (key, key.with_name(key.name + ".pub")):
            path.unlink(missing_ok=True)
    assert "tmpfs storage and goes with this container" in inside.err and "FERRY_KEY" in inside.err


# --- waiting, with a clock of its own -----------------------------------------------------------------------


class Hours:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def test_it_asks_once_a_second_and_ends_with_the_answer() -> None:
    hours, answers = Hours(), iter([Me(""), Me(""), Me("ada")])
    found = until_approved(lambda: next(answers), seconds=600, clock=hours, sleep=hours.sleep)
    assert found == Me("ada") and hours.slept == [1.0, 1.0]


def test_it_waits_as_long_as_the_registry_asks_and_no_longer_than_it_was_told() -> None:
    hours, told = Hours(), list[str]()

    def busy() -> Me:
        raise TransientError("busy", retry_after=7.0)

    assert until_approved(busy, seconds=10, clock=hours, sleep=hours.sleep, note=told.append) is None
    assert hours.slept == [7.0, 3.0] and told == ["busy"]


# --- signing out --------------------------------------------------------------------------------------------


def test_signing_out_disconnects_this_key_by_a_token_of_this_server(
    ferry: Ferry, pretended: PretendAccounts
) -> None:
    ferry("signin", pretended.host, "--give-up-after", "0")
    first = pretended.approve(key_of(ferry), pretended.ada)

    assert "signed out" in ferry("signout", pretended.host).well().out
    assert first.revoked and ferry("whoami", pretended.host).code == 4
    deleting = next(
        seen for seen in pretended.spy.seen if seen.method == "DELETE" and seen.header("Authorization")
    )
    assert str(deleting.header("Authorization")).startswith("Bearer ")  # a signature could be passed on
    asked = next(seen for seen in pretended.spy.seen if "/v2/token" in seen.target)
    assert "registry%3Aaccount%3A%2A" in asked.target

    pretended.approve(key_of(ferry), pretended.ada)
    assert ferry("whoami", pretended.host).well() and first.revoked


def test_signing_in_again_gives_another_credential(
    ferry: Ferry, accounts: AnyAccounts, machine: Credential
) -> None:
    assert ferry("whoami", accounts.host, "--format", "json").well().json["credential"]["id"] == machine.id
    ferry("signout", accounts.host).well()
    assert accounts.revoked(machine) and ferry("whoami", accounts.host).code == 4

    again = accounts.approve(key_of(ferry), accounts.ada)
    told = ferry("whoami", accounts.host, "--format", "json").well().json["credential"]["id"]
    assert told == again.id != machine.id and accounts.revoked(machine)


def test_signing_out_without_a_key_makes_none(ferry: Ferry, pretended: PretendAccounts) -> None:
    done = ferry("signout", pretended.host)
    assert done.code == 4 and "there is no key" in done.err
    assert not (ferry.home / ".ollama").exists() and not pretended.spy.seen


def test_signing_out_of_what_one_is_not_signed_in_at(ferry: Ferry, accounts: AnyAccounts) -> None:
    ferry("signin", accounts.host, "--give-up-after", "0")
    assert ferry("signout", accounts.host).code == 4


# --- the pages ----------------------------------------------------------------------------------------------


def test_a_link_into_the_pages_is_shown_and_nothing_else(ferry: Ferry, accounts: AnyAccounts) -> None:
    ferry("signin", accounts.host, "--give-up-after", "0")
    accounts.approve(key_of(ferry), accounts.ada)
    done = ferry("signin", accounts.host, "--page").well()
    assert done.out.startswith(f"http://{accounts.host}/page#") and done.out.count("\n") == 1
    told = json.loads(ferry("signin", accounts.host, "--page", "--format", "json").well().out)
    assert told["state"] == "page" and told["url"] != done.out.strip()


# --- at the real registry's own pages -----------------------------------------------------------------------


def test_a_person_approves_it_in_the_registrys_pages(ferry: Ferry, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    house = House(Ferry(tmp_path / "host")).open()
    browser = house.set_up("ada", "seven grey herons")
    process = ferry.start("signin", house.host, "--format", "json", program=quick())
    assert process.stdout is not None
    opened = json.loads(process.stdout.readline())
    page = opened["url"].removeprefix(f"http://{house.host}")
    with pytest.raises(RegistryError, match="not the code"):
        browser.send(page, code="AAAA-AAAA", password="seven grey herons", do="approve")
    assert process.poll() is None
    browser.send(page, code=opened["code"], password="seven grey herons", do="approve")
    out, _ = process.communicate(timeout=60)
    told = json.loads(out.splitlines()[-1])
    assert (process.returncode, told["state"], told["name"]) == (0, "approved", "ada")
    browser.close()
    house.close()


def test_an_error_behind_a_line_is_a_line_too(ferry: Ferry, pretended: PretendAccounts) -> None:
    """A program that reads lines is not handed a document of several."""
    process = waiting(ferry, pretended, "--format", "json")
    pretended.clock_is_off = True
    out, _ = process.communicate(timeout=60)
    opened, error = map(json.loads, out.splitlines())
    assert process.returncode == 4 and opened["state"] == "open" and error["error"]["reason"] == "clock"


def test_ctrl_c_ends_the_waiting(ferry: Ferry, pretended: PretendAccounts) -> None:
    process = waiting(ferry, pretended)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
