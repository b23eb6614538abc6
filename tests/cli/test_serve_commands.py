"""How ferry serve starts, refuses to start, and ends; how ferry admin works while it runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest
from data_directory import prepared
from house import House
from peers import http_call
from person import Ferry
from spy import Spy, reply

from registry.disk.data import lock_file
from registry.model.digests import Digest
from registry.server.registry import Registry

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF7xVYAomqO1w7CLpUZxGk7QqpNpFTHOmGkzoTmHZZD/"
OPEN = ["--listen", "0.0.0.0:0", "--public-url", "https://m.example"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "0.0.0.0:0"], "cannot know its own name"),
        (OPEN, "plain HTTP"),
        (["--anonymous", "all"], "none, read, write"),
        (["--listen", "5050"], "not HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "not HOST:PORT"),
        (["--tls-cert", "/dev/null"], "go together"),
        (["--tls-cert", "/dev/null", "--tls-key", "/dev/null"], "certificate"),
        (["--public-url", "models.acme.example"], "--public-url"),
        (["--public-url", "https://m.example/path"], "public URL"),
        (["--capability-days", "0"], "between 1 and 365"),
        (["--max-key-days", "0"], "between 1 and 3650"),
        (["--log-format", "xml"], "text, json"),
        (
            [
                "--listen",
                "0.0.0.0:0",
                "--public-url",
                "https://m.example",
                "--plain-http",
                "--anonymous",
                "write",
            ],
            "anybody on the network",
        ),
    ],
)
def test_an_unsafe_or_impossible_start_is_refused(ferry: Ferry, words: list[str], said: str) -> None:
    done = ferry("serve", "--data", ferry.home / "data", *words, seconds=20)
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_port_in_use_and_data_in_use_are_said(house: House, ferry: Ferry) -> None:
    taken = ferry("serve", "--data", ferry.home / "data", "--listen", house.host)
    assert taken.code == 2
    assert "Address already in use\n" in taken.err
    second = ferry("serve", "--data", house.data, "--listen", "127.0.0.1:0")
    assert second.code == 8
    assert "by another process" in second.err


@pytest.mark.parametrize("words", [(), ("--direct-upload",)])
def test_a_direct_upload_is_offered_only_where_that_was_wished(ferry: Ferry, words: tuple[str, ...]) -> None:
    house = House(ferry, "--anonymous", "write", *words).open()
    asking = {"X-Redirect-Uploads": "2", "X-Content-Length": "5"}
    url = f"http://{house.host}/v2/acme/tiny/blobs/uploads/?digest=sha256:{'0' * 64}"

    begun = http_call("POST", url, headers=asking)

    assert house.close() == 0
    assert (begun.status, "x-direct-upload-url" in begun.headers) == (202, bool(words))


def test_sigterm_drains_and_ends_with_0_and_the_data_is_there_again(ferry: Ferry) -> None:
    house = House(ferry).open()
    house("user", "add", "ada").well()
    assert house.close() == 0
    house.open()
    assert [user["name"] for user in house("user", "list", "--format", "json").json] == ["ada"]
    assert house.close() == 0


def test_each_request_is_one_line_as_text_or_json(ferry: Ferry, house: House) -> None:
    assert "nobody has an account yet" in house.log
    assert " POST /api/me" in house.log
    lab = House(ferry, "--log-format", "json", "--anonymous", "read").open()
    ferry("tags", f"{lab.host}/a/b")
    lab.close()
    lines = [json.loads(line) for line in lab.log.splitlines()]
    [asked] = [line for line in lines if line.get("route") == "tags"]
    assert asked["address"] == asked["peer"] == "127.0.0.1"
    assert (asked["repository"], asked["status"]) == ("a/b", 404)
    assert len(asked["id"]) == 16


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["--public-url", "https://m.example", "--trusted-proxy", "10.0.0.0/8"], True),
        (["--public-url", "https://m.example", "--trusted-proxy", "127.0.0.1"], False),
        (["--public-url", "http://m.example"], False),
        ([], False),
    ],
)
def test_an_untrusted_proxy_and_who_may_read_the_data_are_warned_of(
    ferry: Ferry, words: list[str], warned: bool
) -> None:
    house = House(ferry, *words)
    house.data.mkdir()
    house.data.chmod(0o750 if warned else 0o755)
    house.open()
    assert house.close() == 0
    assert ("--trusted-proxy does not name it" in house.log) == warned
    assert (f"may read {house.data}: chmod o= {house.data}" in house.log) != warned


def test_an_empty_data_directory_says_where_it_is_set_up_and_no_log_does(ferry: Ferry) -> None:
    house = House(ferry).open()
    told = house.next_line()
    lab = House(ferry, "--anonymous", "read", "--log-format", "json", data=ferry.home / "lab").open()
    assert re.fullmatch(rf"set-up: http://{house.host}/set-up#[\w-]{{32}}\n", told)
    assert told.partition("#")[2].strip() not in house.log
    asked = ferry("keys", "list", "--host", lab.host)
    assert (asked.code, "its administrator makes the first account" in asked.err) == (4, True)
    house("user", "add", "ada").well()
    assert house.close() == lab.close() == 0
    assert house.rest == lab.rest == ""
    again = House(ferry, "--log-format", "json", data=house.data).open()
    assert again.close() == 0
    assert again.rest == ""
    empty = House(ferry, "--log-format", "json", data=ferry.home / "empty").open()
    assert json.loads(empty.next_line())["setup"].startswith(f"http://{empty.host}/set-up#")
    assert empty.close() == 0


def test_invite_and_reset_print_links_to_the_server_that_is_or_was_there(ferry: Ferry) -> None:
    data = ferry.home / "data"
    Registry.prepare(data).close()
    unknown = ferry("admin", "user", "invite", "ada", "--data", data)
    assert (unknown.code, "nobody knows yet what the server" in unknown.err) == (2, True)
    house = House(ferry, data=data).open()
    invited = house("user", "invite", "ada", "--admin").well().out
    assert re.search(rf"^  http://{house.host}/invitation#[\w-]{{32}}$", invited, re.MULTILINE)
    [listed] = house("user", "list", "--format", "json").json
    assert (listed["admin"], listed["password"], listed["disabled"]) == (True, False, False)
    assert f" admin  invited until {listed['invited_until']}  no " in house("user", "list").well().out
    assert house.close() == 0
    told = house("user", "reset", "ada", "--format", "json").well().json
    assert told["name"] == "ada"
    assert told["url"].startswith(f"http://{house.host}/invitation#")
    assert house("user", "reset", "nobody").code == 3


def test_anonymous_is_refused_on_data_with_accounts(ferry: Ferry) -> None:
    ferry("admin", "user", "add", "ada", "--data", prepared(ferry.home / "data")).well()
    done = ferry("serve", "--data", ferry.home / "data", "--listen", "127.0.0.1:0", "--anonymous", "read")
    assert done.code == 2
    assert "accounts" in done.err


def test_accounts_keys_and_rights_are_kept_while_it_runs(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    public = tmp_path_factory.mktemp("keys") / "cleo.pub"
    public.write_text(KEY + " cleo@laptop\n")
    mounted = public.with_name("mounted.pub")
    mounted.symlink_to(public)  # as every Secret and ConfigMap is
    made = house("user", "add", "cleo", "--key", mounted, "--admin", "--format", "json").well().json
    assert made["name"] == "cleo"
    assert made["admin"] is True
    fingerprint = made["fingerprint"]
    assert house("user", "add", "cleo").code == 2
    assert house("user", "add", "Cleo Patra").code == 2
    missing = house("user", "add", "dora", "--key", public.with_name("missing.pub"))
    assert (missing.code, "there is no public key at" in missing.err) == (2, True)
    assert house("user", "disable", "cleo").well().out == "cleo is disabled\n"
    told = {user["name"]: user for user in house("user", "list", "--format", "json").json}
    assert told["cleo"]["disabled"] is True
    assert told["cleo"]["keys"] == [fingerprint]
    house("user", "enable", "cleo").well()
    assert house("key", "revoke", fingerprint).well().out == f"{fingerprint} is revoked\n"
    assert house("key", "revoke", fingerprint).well().out == f"{fingerprint} was revoked already\n"
    assert house("key", "revoke", f"{fingerprint}x").code == 3
    keys = house("key", "list", "cleo", "--format", "json").json
    assert [(key["fingerprint"], key["revoked"] is None) for key in keys] == [(fingerprint, False)]
    house("visibility", "cleo/tiny", "public").well()
    assert house("visibility", "cleo/tiny", "hidden").code == 2
    assert house("grant", "nobody", "ada", "read").code == 3
    assert house("grant", "ben", "ada", "maybe").code == 2
    assert house("gc", "--format", "json").json["freed"] == 0


def test_what_was_granted_is_listed_and_what_is_not_there_is_said(ferry: Ferry) -> None:
    house = House(ferry, data=prepared(ferry.home / "data"))
    for name in ("ada", "ben"):
        house("user", "add", name).well()
    assert house("grant", "ben", "ada", "write").well().out == "ben may read and write ada\n"
    assert "nothing is at ada/tinny yet" in house("grant", "ben", "ada/tinny", "read").well().out
    assert "nothing is at ada/tinny yet" in house("visibility", "ada/tinny", "public").well().out
    assert house("grant", "list", "ben", "--format", "json").json == [
        {"user": "ben", "scope": "ada", "right": "write"},
        {"user": "ben", "scope": "ada/tinny", "right": "read"},
    ]
    assert house("visibility", "list", "--format", "json").json == [{"repository": "ada/tinny"}]
    assert house("grant", "ben", "ada").code == house("visibility", "ada/tinny").code == 2
    assert house("user", "remove", "ben").well().out == "ben has no account any more\n"
    assert house("grant", "list").well().out.split() == ["USER", "WHERE", "RIGHT"]
    done = house("audit", "--format", "json").well().json
    assert [row["action"] for row in done] == ["user.add"] * 2 + ["grant"] * 2 + ["visibility", "user.remove"]
    assert done[0]["address"].endswith(" at the server")
    head, first, *_ = house("audit").well().out.splitlines()
    assert head.split() == [
        "TIME",
        "WHO",
        "WHAT",
        "WHERE",
    ]  # what may be long is last, and pads no other line
    assert " at the server" in first
    assert house("audit", "--after", "2999-01-01", "--format", "json").json == []
    assert house("audit", "--after", "yesterday").code == 2


def test_an_administrator_is_told_where_there_is_no_registry(ferry: Ferry) -> None:
    pictures = ferry.home / "pictures"
    (pictures / "uploads").mkdir(parents=True)
    (pictures / "uploads" / "photo.jpg").write_bytes(b"a photo")
    for data in (ferry.home / "nosuch", pictures):
        for words in (("gc",), ("user", "list"), ("audit",)):
            done = ferry("admin", *words, "--data", data)
            assert done.code == 2
            assert "no registry's data directory" in done.err
    assert ferry("serve", "--data", pictures, "--listen", "127.0.0.1:0").code == 2
    assert not (ferry.home / "nosuch").exists()
    assert sorted(path.name for path in pictures.rglob("*")) == ["photo.jpg", "uploads"]


def test_what_is_collected_is_said_and_what_waits(ferry: Ferry) -> None:
    data = prepared(ferry.home / "data")
    stray = data / "blobs" / "sha256" / "ab" / ("ab" * 32)
    house = House(ferry, data=data)
    registry = Registry.open(data)
    upload = registry.depot.begin("ada/tiny")
    upload.write(b"x" * 5000)
    upload.commit(Digest.of(b"x" * 5000))
    upload.close()
    registry.close()
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    waits = house("gc").well().out
    assert "0 B freed" in waits
    assert "5.0 KB waits, the last of it until 20" in waits
    assert "5.0 KB would be moved to the trash" in house("gc", "--dry-run", "--older-than", "0s").well().out
    serving = lock_file(data / "serving")
    assert serving is not None
    assert house("gc", "--older-than", "0s", "--format", "json").well().json["waiting"] == 5000  # for a push
    serving.close()
    told = house("gc", "--older-than", "0s", "--format", "json").well().json
    assert (told["dry_run"], told["trashed"], told["freed"], told["waiting"]) == (False, 5000, 5000, 0)
    strays = house("gc", "--strays").well().out
    assert f"sha256:{'ab' * 32}" in strays
    assert "1 file of 5 B that no list knows" in strays
    assert stray.exists()
    assert house("gc", "--older-than", "soon").code == 2


def test_nothing_is_reclaimed_unasked_by_a_clock_that_may_be_wrong(ferry: Ferry) -> None:
    data = prepared(ferry.home / "data")
    copy = data / "copies" / "registry-2020-01-02.db"
    copy.parent.mkdir()
    copy.write_bytes(b"")
    os.utime(copy, (1_577_923_200, 1_577_923_200))
    gc = ["admin", "gc", "--data", str(data)]

    refused = ferry(*gc)

    assert refused.code == 2
    assert "nothing is reclaimed: by this clock no server has run for" in refused.err
    assert "ferry admin gc --yes" in refused.err
    assert ferry(*gc, "--dry-run").code == 0
    assert ferry(*gc, "--yes").code == 0


def test_a_key_can_come_on_standard_input_and_a_private_one_is_refused(
    house: House, people: Callable[[str], Ferry]
) -> None:
    house("user", "add", "dora").well()
    people("dora")("signin", house.host, "--give-up-after", "0")
    line = (people("dora").home / ".ollama" / "id_ed25519.pub").read_text()
    done = house.admin("admin", "key", "add", "dora", "-", "--data", house.data, stdin=line)
    assert "speaks for dora" in done.well().out
    private = people("dora").home / ".ollama" / "id_ed25519"
    refused = house("key", "add", "dora", private)
    assert refused.code == 2
    assert private.read_text().splitlines()[1] not in refused.err


def test_what_signin_tells_to_run_is_the_whole_command(ferry: Ferry, house: House) -> None:
    told = ferry("signin", house.host, "--give-up-after", "0").out
    assert "  ferry admin user invite YOU --data DIR\n" in told
    again = ferry("signin", house.host, "--give-up-after", "0", FERRY_DATA=str(house.data)).out
    (line,) = re.findall("^  ferry (.*--data.*)$", again, re.M)
    assert f"http://{house.host}/" in house.admin(*shlex.split(line.replace("YOU", "fay"))).well().out


@pytest.mark.parametrize(("name", "known"), [("gus", True), ("hal", False)])
def test_where_there_are_no_pages_an_administrator_is_told_the_whole_command(
    name: str, known: bool, ferry: Ferry, house: House
) -> None:
    with Spy((reply(401, b'{"error":"unauthorized"}'), reply(404))) as spy:
        asked = ("signin", spy.netloc, "--give-up-after", "0")
        told = (ferry(*asked, FERRY_DATA=str(house.data)) if known else ferry(*asked)).out
    unknown = "--data DIR\nwhere DIR is the directory that it was started with: ferry serve --data DIR\n"
    assert (unknown in told) is not known
    (key,) = re.findall("^  (ssh-ed25519 .*)$", told, re.M)
    (house.admin.home / "you.pub").write_text(key)
    (line,) = re.findall("^  ferry (.*--data.*)$", told, re.M)
    house.admin(*shlex.split(line.replace("YOU", name).replace("DIR", str(house.data)))).well()
    assert ferry("whoami", house.host, "--format", "json").well().json["name"] == name


def test_without_the_servers_libraries_one_sentence_says_what_to_install(ferry: Ferry) -> None:
    for words in (["serve"], ["demo"], ["admin", "user", "list"], ["gateway"]):
        program = f"import sys\nsys.modules['aiohttp'] = None\nfrom cli import main\nmain.main({words!r})"
        done = subprocess.run(
            [sys.executable, "-c", program], env=ferry.env(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert "aiohttp is not installed" in done.stderr
        assert "pipx install -f '.[server]'" in done.stderr
