"""`ferry outdated` and `ferry update`: what moved there is fetched, what moved here is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invariants import check_store
from peers import Registry, ferry_server
from person import Ferry
from spy import Spy, reply
from stored_models import LAYERS, put_model

from cli.commands.outdated import planned_update
from cli.render import size
from cli.settings import Settings
from cli.standings import Compared, rule
from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.errors import InvalidError
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.standing import Standing
from registry.targets.store import Store

Publish = Callable[[bytes], None]

OLD, NEW = LAYERS["model"] * 60, LAYERS["model"] * 61


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with ferry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def name(registry: Registry, request: pytest.FixtureRequest) -> str:
    """A name of its own for this test."""
    return f"{registry.host}/acme/{request.node.name[5:60].replace('_', '-')}:1.0"


@pytest.fixture
def publish(ferry: Ferry, name: str, tmp_path: Path) -> Publish:
    def publish(weights: bytes) -> None:
        models = tmp_path / "publisher"
        put_model(models, name.replace(":1.0", "/1.0"), weights)
        ferry("push", name, "--models", models).well()

    return publish


@pytest.fixture
def pulled(ferry: Ferry, name: str, publish: Publish) -> str:
    publish(OLD)
    ferry("pull", name).well()
    return name


def states(ferry: Ferry, *words: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in ferry("outdated", *words, "--format", "json").well().json}


def weights(ferry: Ferry, name: str) -> int:
    layers = ferry("show", name, "--format", "json").well().json["layers"]
    return int(max(layer["size"] for layer in layers))


def test_what_moved_there_is_outdated_and_updated(ferry: Ferry, pulled: str, publish: Publish) -> None:
    assert states(ferry) == {pulled: "current"}
    publish(NEW)

    row = ferry("outdated", "--format", "json").well().json[0]
    assert (row["state"], row["cost"]) == ("outdated", len(NEW))
    assert row["digest"] != row["there"]
    assert "1 outdated: ferry update --all fetches" in ferry("outdated").well().out
    assert f"1 outdated: ferry update {pulled} fetches" in ferry("outdated", pulled).well().out

    dry = ferry("update", "--all", "--dry-run", "--format", "json").well().json
    assert dry[0]["would_transfer"] == len(NEW)
    assert weights(ferry, pulled) == len(OLD)

    assert ferry("update", "--all", "--format", "json").well().json[0]["tag"] == "moved"
    assert weights(ferry, pulled) == len(NEW)
    assert states(ferry) == {pulled: "current"}
    assert "up to date" in ferry("update", "--all").well().out
    check_store(ferry.models)


def test_what_two_outdated_names_are_made_of_is_counted_once(
    ferry: Ferry, pulled: str, publish: Publish
) -> None:
    ferry("pull", pulled, "--as", "mine").well()
    publish(NEW)

    said = ferry("outdated").well().out.splitlines()[-1]
    dry = ferry("update", "--all", "--dry-run", "--format", "json").well().json
    done = ferry("update", "--all", "--format", "json").well().json

    assert said == f"2 models, 2 outdated: ferry update --all fetches {size(len(NEW))}"
    assert [each["would_transfer"] for each in dry] == [each["transferred"] for each in done] == [len(NEW), 0]


def test_what_ollama_pulled_meanwhile_is_current_and_updated_later(
    ferry: Ferry, pulled: str, publish: Publish
) -> None:
    """It keeps a manifest without the newline that others end it with: that was taken for a change here."""
    publish(NEW)
    put_model(ferry.models, pulled.replace(":1.0", "/1.0"), NEW)
    manifest = ferry.models / "manifests" / pulled.replace(":1.0", "/1.0")
    manifest.write_bytes(manifest.read_bytes() + b"\n")

    assert states(ferry) == {pulled: "current"}
    publish(OLD)
    assert states(ferry) == {pulled: "outdated"}
    Store(ferry.models).origins.forget(Name.parse(pulled))  # as where nobody but Ollama ever pulled it
    assert states(ferry) == {pulled: "outdated"}
    assert ferry("update", "--all", "--format", "json").well().json[0]["tag"] == "moved"
    assert weights(ferry, pulled) == len(OLD)


def test_what_moved_here_is_never_overwritten_unasked(ferry: Ferry, pulled: str, publish: Publish) -> None:
    put_model(ferry.models, pulled.replace(":1.0", "/1.0"))  # as Ollama does, which tells Ferry nothing
    assert states(ferry) == {pulled: "changed"}
    publish(NEW)
    assert states(ferry) == {pulled: "diverged"}
    known = Store(ferry.models).origins.get(Name.parse(pulled))
    assert known is not None and known.changed is not None, "a repair does not take the pulled one back"

    left = ferry("update", "--all").well()
    asked = ferry("update", pulled)

    assert "was changed here" in left.out
    assert asked.code == 2 and f"ferry pull {pulled}" in asked.err
    assert weights(ferry, pulled) == len(LAYERS["model"])
    ferry("pull", pulled).well()
    assert states(ferry) == {pulled: "current"}


def test_what_was_changed_here_and_published_is_no_change_any_more(
    ferry: Ferry, pulled: str, publish: Publish
) -> None:
    put_model(ferry.models, pulled.replace(":1.0", "/1.0"), OLD + b"mine")
    ferry("push", pulled).well()
    publish(NEW)

    assert states(ferry) == {pulled: "outdated"}


def test_a_model_that_ollama_pulled_is_outdated_where_the_registry_knows_it(
    ferry: Ferry,
    pulled: str,
    publish: Publish,
) -> None:
    for path in (ferry.models / ".ferry" / "origins").iterdir():
        path.unlink()
    publish(NEW)
    assert states(ferry) == {pulled: "outdated"}

    put_model(ferry.models, pulled.replace(":1.0", "/1.0"), b"GGUF made here")
    assert states(ferry) == {pulled: "unknown"}
    assert ferry("update", pulled).code == 2


def test_a_model_with_another_name_here_is_compared_with_where_it_came_from(
    ferry: Ferry,
    pulled: str,
    publish: Publish,
) -> None:
    ferry("pull", pulled, "--as", "mine").well()
    ferry("rm", pulled).well()
    assert len(list((ferry.models / ".ferry" / "origins").iterdir())) == 1, "what is gone came from nowhere"
    publish(NEW)
    assert states(ferry) == {"mine:latest": "outdated"}

    ferry("update", "mine").well()

    assert states(ferry) == {"mine:latest": "current"}
    assert weights(ferry, "mine") == len(NEW)


@pytest.mark.usefixtures("pulled")
def test_a_host_that_is_down_is_told_once_and_does_not_stop_the_others(
    ferry: Ferry, publish: Publish
) -> None:
    publish(NEW)
    with Spy((reply(503),)) as spy:
        busy = spy.netloc
        for number in range(12):
            put_model(ferry.models, f"{busy}/acme/gone{number}/latest")
            put_model(ferry.models, f"127.0.0.1:1/acme/gone{number}/latest")
        told = ferry("outdated", "--format", "json", "--give-up-after", "1s")
        done = ferry("update", "--all", "--format", "json", FERRY_GIVE_UP_AFTER="1s")
        again = ferry("update", "--all", FERRY_GIVE_UP_AFTER="1s")

    assert "24 of 25 failed:" in again.err, "what is up to date is none of them, and counted"
    assert told.code == done.code == 6
    for run in (told, done):
        complaints = [line for line in run.err.splitlines() if "trying again" not in line]
        assert sum("refused the connection" in line for line in complaints) == 1, run.err
        assert sum("answered 503" in line for line in complaints) == 1, run.err
        failed = [row["error"] for row in run.json if "error" in row]
        assert {error["host"] for error in failed} == {busy, "127.0.0.1:1"}
        assert len({error["name"] for error in failed}) == 24
    assert [row["state"] for row in told.json if "state" in row] == ["outdated"]
    assert [row["tag"] for row in done.json if "tag" in row] == ["moved"]


@pytest.mark.parametrize(("options", "seconds"), [({"give_up_after"}, 300), (set(), 30)])
def test_a_comparison_is_as_patient_as_was_asked_and_not_as_a_file_wishes_for_transfers(
    options: set[str], seconds: float
) -> None:
    settings = Settings({"give_up_after": 300.0}, {}, options=frozenset(options))
    assert rule(settings).give_up_after == seconds
    assert rule(Settings({}, {})).give_up_after == 30


def test_what_is_only_here_and_what_runs_in_the_cloud_is_said(ferry: Ferry, registry: Registry) -> None:
    only = f"{registry.host}/acme/only-here:1.0"
    put_model(ferry.models, only.replace(":1.0", "/1.0"))
    path = ferry.models / "manifests" / "registry.ollama.ai" / "library" / "big" / "cloud"
    path.parent.mkdir(parents=True)
    whole = (ferry.models / "manifests" / only.replace(":1.0", "/1.0")).read_text()
    head, _, _ = whole.partition('"layers"')
    path.write_text(head + '"layers":null}')

    assert states(ferry) == {only: "only here", "big:cloud": "cloud"}
    assert "runs in the cloud" in ferry("update", "big:cloud").well().out
    asked = ferry("update", only)
    assert asked.code == 3 and "is only here" in asked.err


def test_nobody_is_asked_for_what_was_made_here(ferry: Ferry, pulled: str) -> None:
    weights = Path(__file__).parents[2] / "fixtures" / "tiny.gguf"
    made = "127.0.0.1:1/acme/mine:latest"  # nobody answers there: asking would be exit 6
    ferry("create", made, "-f", "-", stdin=f"FROM {weights}\n").well()
    ferry("cp", made, "127.0.0.1:1/acme/mine:backup").well()
    ferry("cp", pulled, "127.0.0.1:1/acme/kept").well()

    told = ferry("outdated", "--format", "json").well().json
    table = ferry("outdated", "--verbose").well().out
    asked = ferry("update", made).well()

    assert {row["name"]: row["state"] for row in told} == {
        pulled: "current",
        made: "made here",
        "127.0.0.1:1/acme/mine:backup": "made here",
        "127.0.0.1:1/acme/kept:latest": "made here",
    }
    assert [row["origin"] for row in told if row["state"] == "made here"] == [None] * 3
    assert table.count("made here") == 3
    assert asked.out == f"{made} was made here: there is no registry to update it from\n"
    assert "up to date" in ferry("update", "--all").well().out


def test_what_was_made_here_and_published_under_its_name_is_compared_again(
    ferry: Ferry, name: str, publish: Publish
) -> None:
    weights = Path(__file__).parents[2] / "fixtures" / "tiny.gguf"
    ferry("create", name, "-f", "-", stdin=f"FROM {weights}\n").well()
    assert states(ferry) == {name: "made here"}
    ferry("push", name).well()
    publish(NEW)
    assert states(ferry) == {name: "outdated"}

    ferry("create", name, "-f", "-", stdin=f"FROM {weights}\nSYSTEM another\n").well()
    assert states(ferry) == {name: "diverged"}, "what a registry has was changed here"


def test_what_stock_ollama_wrote_over_a_model_made_here_is_asked_for(ferry: Ferry, pulled: str) -> None:
    ferry("cp", pulled, "127.0.0.1:1/acme/mine").well()
    put_model(ferry.models, "127.0.0.1:1/acme/mine/latest", weights=NEW)
    assert ferry("outdated", "127.0.0.1:1/acme/mine").code == 6


@pytest.mark.parametrize("meanwhile", ["changed", "removed", "as it was"])
def test_what_is_changed_here_while_an_update_is_on_its_way_is_left_alone(
    tmp_path: Path, meanwhile: str
) -> None:
    """Hours may lie between the comparison and the last byte."""
    name, raw = (
        Name.parse("models.example/acme/tiny:1"),
        put_model(tmp_path, "models.example/acme/tiny/1", OLD),
    )
    here, there = Manifest.parse(raw), Manifest.parse(put_model(tmp_path, "models.example/acme/newer/1", NEW))
    store, row = Store(tmp_path), Compared(name, name, here.digest, there.digest, Standing.OUTDATED)
    opened = Registries(lambda _: HostSettings(), Credentials())
    update = planned_update(store, opened, row).destination
    if meanwhile == "changed":
        put_model(tmp_path, "models.example/acme/tiny/1", OLD + b"mine")
        with pytest.raises(InvalidError, match="changed here just now"):  # before a byte moves
            planned_update(store, opened, row)
    elif meanwhile == "removed":
        store.remove(name)
    before = store.current(name)

    if meanwhile == "as it was":
        update.publish(name, there)
        update.publish(name, there)  # asked for once more, because the first answer was lost
        assert store.current(name) == there.digest
    else:
        with pytest.raises(InvalidError, match="changed here meanwhile"):
            update.publish(name, there)
        assert store.current(name) == before


def test_update_wants_names_or_all(ferry: Ferry) -> None:
    assert ferry("update").code == 2
    assert ferry("update", "tiny", "--all").code == 2
    assert ferry("outdated", "nothing").code == 3
