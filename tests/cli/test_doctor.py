"""`ferry doctor` names the hop that is broken, and the next step; and no hop takes longer than its time."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from broken import Broken
from broken_worlds import WORLDS, World
from certificates import write_certificate
from doctor_kit import Kit, holds_a_model, takes_uploads
from house import House
from peers import LOCATION, Registry, tls_front
from person import Ferry
from spy import Spy
from stored_models import put_model

from cli.examination import HOPS
from cli.hints import LOOK_CLOSER, next_step
from registry.auth.keys import PrivateKey
from registry.diagnose import here
from registry.diagnose.findings import Finding, HopState, look_at, ok
from registry.disk import system
from registry.errors import Reason, TransientError

ACCOUNTS = ("ada", "ben", "guest", "withdrawn")


@pytest.fixture(scope="module")
def keys(house: House, people: Callable[[str], Ferry]) -> dict[str, str]:
    """Of four people with accounts: one has a model, one may read it, one has no right, one is gone."""
    made = {name: PrivateKey(bytes([index]) * 32) for index, name in enumerate(ACCOUNTS, 7)}
    for name, key in made.items():
        house("user", "add", f"doctor-{name}").well()
        words = ("key", "add", f"doctor-{name}", "-", "--data", house.data)
        house.admin("admin", *words, stdin=key.public.line).well()
    house("key", "revoke", made["withdrawn"].public.fingerprint).well()
    owner = Ferry(people("doctor").home, {"FERRY_KEY": made["ada"].openssh()})
    put_model(owner.models, f"{house.host}/doctor-ada/tiny/latest")
    owner("push", f"{house.host}/doctor-ada/tiny").well()
    house("grant", "doctor-guest", "doctor-ada/tiny", "read").well()
    return {name: key.openssh() for name, key in made.items()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("good", "expired")}
    write_certificate(folders["good"], "ollama.com", "registry.ollama.ai")
    write_certificate(folders["expired"], until=-1.0)
    return folders


@pytest.fixture(scope="module")
def front(
    house: House,
    docker_registry: Registry,
    certificates: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """nginx: before `house` it loses nothing but its name, before another registry it limits bodies."""
    locations = [LOCATION.format(upstream=house.host).replace("location /", "location /v2/lost/")]
    for path, limit in (("", "1m"), ("v2/tight/", "100k")):
        behind = LOCATION.format(upstream=docker_registry.host).replace("location /", f"location /{path}")
        locations.append(behind.replace("client_max_body_size 0", f"client_max_body_size {limit}"))
    with tls_front(tmp_path_factory.mktemp("nginx"), "", "\n".join(locations)) as opened:
        certificates["front"] = opened.ca.parent
        yield opened.host


@pytest.fixture
def kit(
    ferry: Ferry, house: House, keys: dict[str, str], certificates: dict[str, Path], front: str
) -> Iterator[Kit]:
    with ExitStack() as stack:
        yield Kit(ferry.home, house, keys, certificates, front, stack)


@pytest.mark.parametrize(
    ("world", "hop", "code", "seen", "step"), WORLDS, ids=[row[0].__name__ for row in WORLDS]
)
def test_a_broken_world_is_named_at_its_hop_with_the_next_step(
    world: World, hop: str, code: int, seen: str, step: str, kit: Kit
) -> None:
    words = world(kit)

    done = Ferry(kit.home, kit.environ)("doctor", *words, "--format", "json")

    rows = done.json
    named = next(row for row in rows if row["hop"] == hop)
    assert named["state"] == ("failed" if code else "note"), rows
    assert seen in named["seen"] and step in named["next"] and (named["next"] or not code), named
    assert done.code == code
    failed = [row["hop"] for row in rows if row["state"] == "failed"]
    assert failed[:1] == ([hop] if code else []), rows
    assert all(row.keys() == {"hop", "state", "seen", "next"} for row in rows)
    assert all("ferry doctor" not in row["next"] for row in rows)  # it is what was just done
    assert "s3cret" not in done.out + done.err and "Traceback" not in done.err


def test_there_are_worlds_enough() -> None:
    assert len({row[0].__name__ for row in WORLDS}) == len(WORLDS) >= 25


def test_a_whole_world_is_told_in_80_columns_and_every_hop_is_there(kit: Kit) -> None:
    kit.be("ada")
    person = Ferry(kit.home, {**kit.environ, "OLLAMA_API_KEY": "of-ollama"})
    done = person("doctor", kit.tiny, "--push", "--models", "models").well()
    assert max(map(len, done.out.splitlines())) <= 80
    hops = [line.split()[1] for line in done.out.splitlines() if line[0] != " "]
    assert hops == [*HOPS]
    assert "OLLAMA_API_KEY (for ollama.com)" in done.out and "of-ollama" not in done.out
    assert "granted repository:doctor-ada/tiny:pull" in " ".join(done.out.split())
    assert "was cancelled" in done.out
    assert "✗" not in done.out and done.err == ""


def test_a_host_alone_and_a_model_that_a_push_would_make(kit: Kit) -> None:
    kit.be("ada")
    person = Ferry(kit.home, kit.environ)
    assert "no model was named" in person("doctor", kit.house.host).well().out
    done = person("doctor", f"{kit.house.host}/doctor-ada/new", "--push").well()
    assert "there is no" in done.out and "was cancelled" in done.out
    assert person("doctor", kit.house.host, "--push").code == 2


@pytest.mark.parametrize(("sent", "code", "state"), [(202, 0, "2"), (500, 6, "1"), (403, 4, "1")])
def test_an_upload_that_was_begun_is_taken_back_however_it_went(
    sent: int, code: int, state: str, ferry: Ferry
) -> None:
    with Spy((takes_uploads(sent=sent),)) as spy:
        assert ferry("doctor", f"{spy.netloc}/acme/tiny", "--push").code == code
        asked = [seen for seen in spy.seen if "/uploads/" in seen.target]
    assert [seen.method for seen in asked] == ["POST", "PATCH", "DELETE"]
    assert asked[-1].target == f"/v2/acme/tiny/blobs/uploads/u?state={state}"
    assert len(asked[1].body) == 2 * 1024 * 1024


def test_where_each_setting_came_from_is_said_and_no_password(kit: Kit) -> None:
    with Spy((holds_a_model(),)) as spy:
        person = Ferry(kit.home, {"HTTPS_PROXY": "http://ada:s3cret@127.0.0.1:9", "FERRY_JOBS": "3"})
        person.settings(
            f'limit_rate = "20M"\n[host."{spy.netloc}"]\nproxy = "http://ada:s3cret@127.0.0.1:9"\n'
        )
        done = person("doctor", f"{spy.netloc}/acme/tiny", "--key", "nowhere", "--format", "json")
    rows = {row["hop"]: row for row in done.json}
    told = rows["settings"]["seen"]
    for part in ("jobs = 3 (FERRY_JOBS)", "settings.toml)", "key = nowhere (--key)", "(HTTPS_PROXY)"):
        assert part in told
    assert "s3cret" not in done.out and rows["key"]["state"] == "failed" and done.code != 0
    assert rows["dns"]["state"] == "ok"  # the network is looked at all the same


# --- no hop takes longer than its time ------------------------------------------------------------------


def test_a_hop_that_hangs_is_given_up_and_what_comes_behind_it_is_not_looked_at() -> None:
    """A resolver that never answers, a helper program, a peer that drips: nothing else ends them."""
    over = threading.Event()

    def hangs() -> Finding:
        over.wait(60)
        return ok("dns", "late")

    began = time.monotonic()
    found = list(look_at([("dns", hangs), ("tcp", lambda: ok("tcp", ""))], "models.example", 0.05))
    over.set()
    assert time.monotonic() - began < 30
    assert [one.state for one in found] == [HopState.FAILED, HopState.SKIPPED]
    assert "within 0.05 s" in found[0].seen and found[0].error is not None and found[0].error.exit == 6
    assert "dns" in found[1].seen


@pytest.mark.parametrize(
    ("hop", "host", "step"),
    [
        ("dns", "models.example", "this machine's DNS"),
        ("token", "models.example", "models.example hang"),
        ("credential", "", "move it away"),  # a helper program
        ("store", "", "another place"),  # a disk in the network
    ],
)
def test_what_hangs_is_what_the_advice_is_about(hop: str, host: str, step: str) -> None:
    over = threading.Event()
    (found,) = look_at([(hop, lambda: ok(hop, str(over.wait(60))))], host, 0.01)
    over.set()
    assert found.error is not None and step in next_step(found.error, hop)


def test_a_defect_of_ours_is_not_taken_for_the_worlds() -> None:
    with pytest.raises(ZeroDivisionError):
        list(look_at([("dns", lambda: ok("dns", str(1 // 0)))], "models.example"))


# --- this machine -----------------------------------------------------------------------------------------

DISKS = {
    "read-only": (Broken("open", errno.EROFS), "another place"),
    "full": (Broken("pwrite", errno.ENOSPC), "make room"),
    "failing": (Broken("sync", errno.EIO), "the system's log"),
}


@pytest.mark.parametrize("how", DISKS)
def test_a_store_that_takes_nothing_is_found_by_trying(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = look_at([("store", lambda: here.store(tmp_path, None))], "")
    assert found.state is not HopState.FAILED
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    broken, step = DISKS[how]
    monkeypatch.setattr(system, "system", broken)
    (found,) = look_at([("store", lambda: here.store(tmp_path, None))], "")
    assert found.state is HopState.FAILED and found.error is not None and found.error.exit == 8
    assert step in next_step(found.error, "store")


@pytest.mark.parametrize(
    ("said", "where"),
    [("{}", "{}"), ("http://{}/", "{}"), ("0.0.0.0:{port}", "{}")],
)
def test_ollama_is_looked_for_where_its_variable_says(said: str, where: str, ferry: Ferry) -> None:
    from spy import reply

    with Spy((reply(200, b'{"version":"0.17.4"}'),)) as spy:
        host = said.format(spy.netloc, port=spy.port)
        done = ferry("doctor", spy.netloc, "--format", "json", OLLAMA_HOST=host)
        row = done.json[-1]
        assert row["hop"] == "ollama" and row["seen"] == f"0.17.4 runs at {where.format(spy.netloc)}"


# --- who points here --------------------------------------------------------------------------------------


def test_what_an_error_cannot_tell_points_to_doctor() -> None:
    for reason in LOOK_CLOSER:
        error = TransientError("no", reason=reason, host="models.example:5050")
        assert next_step(error).endswith("ferry doctor models.example:5050 looks closer")
        assert "ferry doctor" not in next_step(error, "tcp")
    assert "doctor" not in next_step(TransientError("no", reason=Reason.LINE_BROKE))
