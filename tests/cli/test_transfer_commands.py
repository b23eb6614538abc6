"""Push, pull, tags, list and whoami against a registry in another process."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from house import House
from person import Ferry
from spy import Spy, reply
from stored_models import put_model

from cli import settings
from cli.options import Invocation
from cli.render import Terminal
from cli.sources import host_settings
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.intake import PartialIntake
from registry.targets.store import Store

People = Callable[[str], Ferry]
Stop = Callable[[int], tuple[int, str, float]]
WEIGHTS = b"GGUF" + os.urandom(3_000_000)


@pytest.fixture(scope="module")
def published(house: House, people: People) -> str:
    """The name of a model that ada pushed."""
    ada = people("ada")
    put_model(ada.models, f"{house.host}/ada/tiny/1.0", WEIGHTS)
    ada("push", f"{house.host}/ada/tiny:1.0").well()
    return f"{house.host}/ada/tiny:1.0"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_pull_tells_every_blob_as_one_json_document(published: str, people: People, elsewhere: Path) -> None:
    told = people("ada")("pull", published, "--models", elsewhere, "--format", "json").well().json
    assert told.keys() == {"name", "digest", "tag", "was", "size", "transferred", "seconds", "blobs"}
    assert (told["tag"], told["was"]) == ("created", None)
    assert told["name"] == published
    assert told["size"] == told["transferred"] == sum(blob["size"] for blob in told["blobs"])
    assert all(blob.keys() == {"digest", "mediaType", "size", "transferred", "how"} for blob in told["blobs"])
    assert {blob["how"] for blob in told["blobs"]} == {"fetched"}
    again = people("ada")("pull", published, "--models", elsewhere, "--format", "json").well().json
    assert again["transferred"] == 0
    assert {blob["how"] for blob in again["blobs"]} == {"present"}
    assert (again["tag"], again["was"]) == ("unchanged", told["digest"])


def test_a_dry_run_moves_nothing_and_says_how_much_it_would(
    published: str, people: People, elsewhere: Path
) -> None:
    done = people("ada")("pull", published, "--models", elsewhere, "--dry-run", "--format", "json").well()
    assert done.json["would_transfer"] == done.json["size"] > 3_000_000
    assert done.json["transferred"] == 0
    assert "3.0 MB would move" in people("ada")("pull", published, "--models", elsewhere, "--dry-run").out
    assert not elsewhere.exists()


def test_a_dry_run_counts_what_is_left_of_a_pull_that_was_broken_off(
    published: str, people: People, elsewhere: Path
) -> None:
    ada, half, name = people("ada"), 1024 * 1024, Name.parse(published)
    weights = Descriptor("", Digest.of(WEIGHTS), len(WEIGHTS))
    intake = Store(elsewhere, grain=half).receive(name, weights, None)
    assert isinstance(intake, PartialIntake)
    intake.write(Span(0, half), [WEIGHTS[:half]])
    intake.close()

    said = ada("pull", published, "--models", elsewhere, "--dry-run", "--format", "json").well().json
    done = ada("pull", published, "--models", elsewhere, "--format", "json").well().json

    assert said["would_transfer"] == done["transferred"] == done["size"] - half


def test_pull_keeps_a_model_under_another_name(published: str, people: People, elsewhere: Path) -> None:
    ada = people("ada")
    assert ada("pull", published, "--as", "mine", "--models", elsewhere, "--format", "json").json["name"] == (
        "mine:latest"
    )
    digest = ada("tags", published, "--format", "json").json[0]["digest"]
    by_digest = published.rpartition(":")[0] + "@" + digest
    refused = ada("pull", by_digest, "--models", elsewhere)
    assert refused.code == 2
    assert "--as NAME" in refused.err
    ada("pull", by_digest, "--as", "exact:1", "--models", elsewhere).well()
    listed = ada("list", "--models", elsewhere, "--format", "json").json
    assert {entry["name"]: entry["digest"] for entry in listed} == {"mine:latest": digest, "exact:1": digest}


def test_several_pulls_go_on_after_one_that_fails(published: str, people: People, elsewhere: Path) -> None:
    missing = published.replace("tiny", "never-was")
    done = people("ada")("pull", missing, published, "--models", elsewhere, "--format", "json")
    assert done.code == 3
    assert [entry.get("name") for entry in done.json] == [None, published]
    assert done.json[0]["error"]["exit"] == 3


def test_every_failure_says_in_json_which_name_it_is_of(
    published: str, people: People, elsewhere: Path
) -> None:
    lost = published.replace("tiny", "lost")
    both = people("ada")("pull", lost, published, "--models", elsewhere, "--format", "json")
    assert [told.get("error", told)["name"] for told in both.json] == [lost, published]
    one = people("ada")("pull", lost, "--models", elsewhere, "--format", "json")
    assert one.json["error"]["name"] == lost


def test_a_destination_without_tag_takes_the_sources(published: str, people: People, house: House) -> None:
    ada = people("ada")
    told = ada("push", published, f"{house.host}/ada/other", "--format", "json").well().json
    assert told["name"] == f"{house.host}/ada/other:1.0"
    assert {blob["how"] for blob in told["blobs"]} == {"mounted"}
    put_model(ada.models, "registry.ollama.ai/library/one/latest")
    put_model(ada.models, "registry.ollama.ai/library/two/v2")
    words = ("push", "one", "two:v2", "--to", f"{house.host}/ada", "--format", "json")
    said, both = ada(*words, "--dry-run").well().json, ada(*words).well().json
    assert [told["would_transfer"] for told in said] == [told["transferred"] for told in both]
    assert said[1]["would_mount"] == both[1]["size"], "the first has them by then"
    assert [told["name"] for told in both] == [f"{house.host}/ada/one:latest", f"{house.host}/ada/two:v2"]
    assert ada("push", "one", "two", "three").code == 2


def test_tags_and_list_ask_the_registry(published: str, people: People, house: House) -> None:
    ada = people("ada")
    tags = ada("tags", published, "--format", "json").well().json
    assert [tag["tag"] for tag in tags] == ["1.0"]
    listed = ada("list", f"{house.host}/ada", "--format", "json").well().json
    tiny = next(entry for entry in listed if entry["name"] == published)
    assert tiny["digest"] == tags[0]["digest"]
    for said in (tags[0], tiny, ada("show", "--remote", published, "--format", "json").well().json):
        assert said["by"] == "ada"
        assert abs(datetime.fromisoformat(said["modified"]).timestamp() - time.time()) < 3600
    assert tiny["size"] > len(WEIGHTS)
    cased = ada("list", f"{house.host}/Ada", "--format", "json").well().json
    assert cased == listed
    of_ben = people("ben")("list", house.host, "--format", "json").well().json
    assert not [entry for entry in of_ben if entry["name"].startswith(f"{house.host}/ada/")]
    row = r"[0-9a-f]{12} +(?:just now|\d+ minutes?) +ada$"
    assert re.search(rf"^1\.0 +{row}", ada("tags", published).out, re.MULTILINE)
    assert re.search(r"(?:just now|minutes?) +ada$", ada("list", house.host).out, re.MULTILINE)
    assert re.search(r"^pushed +20\S+Z by ada$", ada("show", "--remote", published).out, re.MULTILINE)


def test_whoami_and_signin_know_a_key_with_an_account(house: House, people: People, ferry: Ferry) -> None:
    told = people("ada")("whoami", house.host, "--format", "json").well().json
    assert told.keys() >= {"host", "name", "fingerprint", "credential", "chosen"}
    assert (told["host"], told["name"]) == (house.host, "ada")
    assert "signed in" in people("ada")("signin", house.host).well().out
    stranger = ferry("whoami", house.host, "--format", "json")
    assert stranger.code == 4
    assert stranger.json["error"]["class"] == "DeniedError"
    said = ferry("signin", house.host, "--give-up-after", "0")
    assert said.code == 4
    assert f"http://{house.host}/connect?name=" in said.out
    assert "ferry admin user invite YOU" in said.out
    assert (ferry.home / ".ollama" / "id_ed25519").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("status", [200, 302, 404])
def test_signin_sends_people_to_a_page_only_where_there_is_one(status: int, ferry: Ferry) -> None:
    with Spy((reply(401, b'{"error":"unauthorized"}'), reply(status, b"a page"))) as spy:
        said = ferry("signin", spy.netloc, "--give-up-after", "0")
        page = f"  http://{spy.netloc}/connect?name="
    assert said.code == 4
    assert spy.seen[1].target.startswith("/connect?name=") and spy.seen[1].header("Authorization") is None
    assert (page in said.out) is (status != 404)
    assert ("ferry admin user add YOU --key you.pub --data" in said.out) is (status == 404)


def test_what_one_may_not_read_looks_as_if_it_were_not_there(
    published: str, people: People, house: House
) -> None:
    missing = published.replace("tiny", "nope")
    private, none = (people("ben")("pull", name, "--format", "json") for name in (published, missing))
    assert private.code == none.code == 3
    assert private.out.replace("tiny", "nope") == none.out
    house("grant", "ben", "ada/tiny", "read").well()
    people("ben")("pull", published, "--dry-run").well()
    house("grant", "ben", "ada/tiny", "none").well()
    assert people("ben")("pull", published, "--dry-run").code == 3


@pytest.mark.parametrize(
    ("name", "code"),
    [("127.0.0.1:1/a/b", 6), ("no-such-host.invalid/a/b", 6), ("http://127.0.0.1:1/a/b", 6)],
)
def test_a_host_that_is_not_there_is_told_at_once(ferry: Ferry, name: str, code: int) -> None:
    began = time.monotonic()
    done = ferry("pull", name)
    assert done.code == code, done.err
    assert time.monotonic() - began < 15
    assert "Traceback" not in done.err


@pytest.mark.parametrize("word", ["push", "mirror"])
def test_a_destination_where_nobody_is_is_told_long_before_patience_ends(
    word: str, published: str, people: People
) -> None:
    """10 minutes of it; what is asked first is the source, which answers."""
    done = people("ada")(word, published, "127.0.0.1:1/ada/tiny", seconds=45)
    assert done.code == 6
    assert "127.0.0.1:1 refused the connection" in done.err.splitlines()[-2]


def test_progress_goes_to_standard_error_and_nothing_else_to_standard_output(
    published: str, people: People, elsewhere: Path
) -> None:
    ada = people("ada")
    done = ada("pull", published, "--models", elsewhere, "--progress", "json", "--format", "json").well()
    events = [json.loads(line) for line in done.err.splitlines()]
    assert events[0]["event"] == "begin"
    assert events[-1] == {**events[-1], "event": "end", "done": events[0]["total"]}
    assert done.json["name"] == published
    quiet = ada("pull", published, "--models", elsewhere, "--quiet").well()
    assert quiet.err == ""
    assert quiet.out.count("\n") == 1


def test_debug_shows_requests_and_no_secret(published: str, people: People, elsewhere: Path) -> None:
    done = people("ada")("pull", published, "--models", elsewhere, "--debug").well()
    assert "GET http" in done.err
    assert "Bearer" not in done.err
    assert "nonce=" not in done.err
    assert not re.search(r"eyJ[\w-]{10}", done.err)


def test_a_key_in_the_environment_needs_no_file(published: str, people: People, ferry: Ferry) -> None:
    text = (people("ada").home / ".ollama" / "id_ed25519").read_text()
    ferry("pull", published, FERRY_KEY=text).well()
    assert not (ferry.home / ".ollama" / "id_ed25519").exists()
    refused = ferry("pull", published, FERRY_KEY="nonsense")
    assert refused.code == 2
    assert "nonsense" not in refused.err


# --- stopped in the middle -------------------------------------------------------------------------------

BIG = 48_000_000  # three spans: what a stopped pull keeps are whole ones


@pytest.fixture(scope="module")
def big(house: House, people: People) -> str:
    ada = people("ada")
    put_model(ada.models, f"{house.host}/ada/big/1.0", b"GGUF" + os.urandom(BIG))
    ada("push", f"{house.host}/ada/big:1.0").well()
    return f"{house.host}/ada/big:1.0"


@pytest.fixture
def stopped_pull(
    big: str, people: People, elsewhere: Path
) -> Iterator[Callable[[int], tuple[int, str, float]]]:
    """A pull that has fetched two spans of three; called with a signal, it tells how the pull ended."""
    process = people("ada").start(
        "pull", big, "--models", elsewhere, "--limit-rate", "12M", "--progress", "json"
    )
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event["total"] > BIG and event["done"] > 38_000_000:
            break

    def end(sign: int) -> tuple[int, str, float]:
        began = time.monotonic()
        process.send_signal(sign)
        _, err = process.communicate(timeout=30)
        return process.returncode, err, time.monotonic() - began

    yield end
    if process.poll() is None:
        process.kill()
        process.communicate()


def test_ctrl_c_stops_within_a_second_and_says_how_to_go_on(
    stopped_pull: Stop, big: str, people: People, elsewhere: Path
) -> None:
    code, err, seconds = stopped_pull(signal.SIGINT)
    assert (code, seconds < 10) == (130, True)  # one second, and what a busy machine adds
    assert "; what arrived is kept, and this goes on: ferry " in err
    command = err.strip().splitlines()[-1].rpartition("this goes on: ferry ")[2].split()
    assert command[:2] == ["pull", big]
    assert people("ada")("list", "--models", elsewhere, "--format", "json").json == []
    done = people("ada")(*command[:4], "--format", "json").well().json
    weights = max(done["blobs"], key=lambda blob: blob["size"])
    assert weights["how"] == "resumed"
    assert weights["transferred"] < BIG // 2


def test_sigterm_stops_a_pull_with_143_and_keeps_everything(
    stopped_pull: Stop,
) -> None:
    code, err, _ = stopped_pull(signal.SIGTERM)
    assert code == 143
    assert "goes on" in err


def test_a_busy_registry_is_asked_until_patience_ends(people: People) -> None:
    with Spy((reply(503),)) as spy:
        began = time.monotonic()
        done = people("ada")(
            "pull", f"{spy.netloc}/ada/tiny:1.0", "--give-up-after", "1.5s", FERRY_FIRST_PAUSE="0.1"
        )
    assert done.code == 6
    assert "trying again in" in done.err
    assert len(spy.seen) > 3
    assert time.monotonic() - began < 60  # the usual patience is longer


def test_a_registry_that_says_nothing_is_given_no_longer_than_patience(people: People) -> None:
    with Spy((lambda talk, _: talk.wait(100),)) as spy:
        began = time.monotonic()
        done = people("ada")("pull", f"{spy.netloc}/ada/tiny:1.0", "--give-up-after", "1s")
    assert done.code == 6
    assert "fell silent" in done.err
    assert time.monotonic() - began < 20  # the usual silence is 30 s


def test_an_address_that_takes_no_connection_is_given_no_longer_than_patience(tmp_path: Path) -> None:
    said = settings.resolve({"give_up_after": "1.5s"}, {"HOME": str(tmp_path)})
    asked = Invocation(said, Terminal(io.StringIO(), io.StringIO()))
    assert host_settings(asked, "models.example", {}).network.connect == 1.5
