"""Models in the browser: what one sees of them, who may, and what their owner does."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from guarded import HOST, key
from pages_kit import Browser, Page, PagesDoor

from registry.contracts import Actor, Document, NewId
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, OLLAMA, Manifest
from registry.server.depot import DiskDepot
from registry.server.principal import Right

CONFIG = {"model_family": "llama", "model_type": "141K", "file_type": "F16", "model_format": "gguf"}
HOSTILE = "<script>alert(1)</script>\"'>\u202egnp.exe\x1b[31m\x00 يمين"
SEEN = "<script>alert(1)</script>\"'>\\u202egnp.exe\\x1b[31m\\x00 يمين"


@pytest.fixture
def door(tmp_path_factory: pytest.TempPathFactory) -> PagesDoor:
    return PagesDoor(lambda engine, clock: DiskDepot(tmp_path_factory.mktemp("data"), engine, clock, ids()))


def ids() -> NewId:
    return map(str, range(1000)).__next__


def publish(
    door: PagesDoor,
    name: str,
    tag: str = "latest",
    *,
    layers: Mapping[str, bytes],
    config: object = CONFIG,
    fields: Mapping[str, object] | None = None,
) -> None:
    """A model as Ollama makes it, of layers by their kinds."""

    def put(kind: str, data: bytes) -> dict[str, object]:
        upload = door.depot.begin(name)
        upload.write(data)
        upload.commit(Digest.of(data))
        upload.close()
        return {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data), **(fields or {})}

    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": put(DOCKER_CONFIG, json.dumps(config).encode()),
        "layers": [put(OLLAMA + kind, data) for kind, data in layers.items()],
    }
    manifest = Manifest.parse(json.dumps(document).encode())
    door.depot.publish(name, manifest, tag, Actor("ada", "", "192.0.2.1"))


def manifest_of(door: PagesDoor, name: str, tag: str) -> Document:
    found = door.depot.manifest(name, tag)
    assert found is not None
    return found


def facts(page: Page) -> dict[str, str]:
    pairs = zip(page.top.all("dt"), page.top.all("dd"), strict=True)
    return {name.text: value.text for name, value in pairs}


def texts(page: Page) -> list[str]:
    return [each.text for each in page.top.all("pre")]


def commands(page: Page) -> list[str]:
    found = [each for each in page.top.all("div") if each.attributes.get("class") == "command"]
    return [each.all("code")[0].text for each in found]


def test_a_model_is_shown_with_all_that_is_in_it_and_the_lines_that_fetch_it(door: PagesDoor) -> None:
    browser = door.person("ada")
    layers = {
        "model": b"w" * 2_000_000,
        "template": b"{{ .Prompt }}\nand <b>more</b>",
        "system": b"Be brief.",
        "license": b"MIT License\n\nPermission is granted",
        "params": b'{"stop":["</s>","<|end|>"],"temperature":0.7}',
    }
    publish(door, "ada/tiny", "v1", layers=layers)
    door.now += 3600
    publish(door, "ada/tiny", "v2", layers={**layers, "model": b"x"})

    page = browser.get("/models/ada/tiny?tag=v1")

    assert commands(page) == [f"ollama pull --insecure {HOST}/ada/tiny:v1", f"ferry pull {HOST}/ada/tiny:v1"]
    assert facts(page) == {
        "Family": "llama",
        "Size": "141K",
        "Quantisation": "F16",
        "Format": "gguf",
        "stop": "<|end|>",
        "temperature": "0.7",
    }
    assert texts(page) == [
        "Be brief.",
        "{{ .Prompt }}\nand <b>more</b>",
        "MIT License\n\nPermission is granted",
    ]
    assert "5 layers" in page.text
    assert "2.0 MB" in page.text
    assert "2027-01-15 08:00 UTC by ada" in page.text
    assert browser.get("/models/ada/tiny").text.startswith("ada/tiny private 2 tags")
    assert commands(browser.page)[1] == f"ferry pull {HOST}/ada/tiny:v2"  # the newest, as none is `latest`


def test_the_list_has_what_one_may_read_and_finds_by_a_part_of_the_name(door: PagesDoor) -> None:
    ada, ben = door.person("ada"), door.person("ben")
    for name in ("ada/one", "ada/two", "ben/three"):
        publish(door, name, layers={"model": name.encode()})
    door.rights.set_public("ada/two", True)

    def listed(browser: Browser, query: str = "") -> list[str]:
        return [
            each.text for each in browser.get(f"/models{query}").top.all("tbody") for each in each.all("a")
        ]

    assert listed(ada) == ["ada/one", "ada/two"]
    assert listed(ben) == ["ada/two", "ben/three"]
    assert listed(Browser(door)) == ["ada/two"]
    assert listed(ada, "?q=ONE") == ["ada/one"]
    assert listed(ada, "?q=three") == []


def test_the_list_has_pages(door: PagesDoor) -> None:
    browser = door.person("ada")
    for number in range(51):
        publish(door, f"ada/m{number:03d}", layers={})
    first = browser.get("/models")
    [more] = [each for each in first.top.all("a") if each.text == "More models"]
    second = browser.get(more.attributes["href"])
    assert len(first.top.all("tbody")[0].all("tr")) == 50
    assert [each.text for each in second.top.all("tbody")[0].all("a")] == ["ada/m050"]


@pytest.mark.parametrize("name", ["ada/private", "ada/never-was", "nobody/at-all"])
def test_private_looks_as_what_is_not_there(door: PagesDoor, name: str) -> None:
    publish(door, "ada/private", layers={"model": b"x"})
    ben = door.person("ben")
    page = ben.get(f"/models/{name}")
    assert page.status == 404
    assert page.text.replace(name, "NAME") == (
        "Nothing here NAME is not here, or not for you to see. To the models"
    )
    assert Browser(door).get(f"/models/{name}").path == "/signin"
    fields = {"token": token_of(ben), "do": "delete", "name": name}
    assert ben.post(f"/models/{name}", fields).status == 404


def test_the_owner_shares_and_takes_back_and_it_bites_at_once(door: PagesDoor) -> None:
    ada, ben = door.person("ada"), door.person("ben")
    publish(door, "ada/tiny", layers={"model": b"x"})

    form = ada.get("/models/ada/tiny").form(having="share")
    assert "Saved" in form.send(user="ben", right="read", scope="ada/tiny").text
    assert ben.get("/models/ada/tiny").status == 200
    assert ben.page.top.all("main")[0].all("form") == []
    ada.get("/models/ada/tiny").form(having="take-back").send()
    assert ben.get("/models/ada/tiny").status == 404

    form.send(user="ben", right="write", scope="ada")
    publish(door, "ada/other", layers={"model": b"x"})
    assert ben.get("/models/ada/other").form(having="delete").fields["name"] == ""
    assert form.send(user="nobody", right="read").status == 404
    assert "no account" in ada.page.text


def test_what_everybody_may_read_is_seen_without_an_account_until_it_is_private_again(
    door: PagesDoor,
) -> None:
    ada = door.person("ada")
    publish(door, "ada/tiny", layers={"model": b"x"})
    stranger = Browser(door)
    ada.get("/models/ada/tiny").form(having="public").send()
    assert stranger.get("/models/ada/tiny").status == 200
    ada.get("/models/ada/tiny").form(having="private").send()
    assert stranger.get("/models/ada/tiny").path == "/signin"


def test_a_tag_and_a_whole_model_are_deleted_by_who_may_write(door: PagesDoor) -> None:
    ada = door.person("ada")
    for tag in ("v1", "v2", "v3"):
        publish(door, "ada/tiny", tag, layers={"model": b"x"})
    page = ada.get("/models/ada/tiny")
    [first] = [each for each in page.top.all("form") if "Delete v1" in each.text]
    ada.post("/models/ada/tiny", {"token": token_of(ada), "do": "delete-tag", "tag": "v1"})
    assert first
    assert [each.tag for each in door.depot.tags("ada/tiny", "", 9)] == ["v2", "v3"]
    form = ada.get("/models/ada/tiny").form(having="delete")
    assert form.send(name="ada/other").status == 400
    assert "is deleted" in form.send(name="ADA/tiny").text
    assert door.depot.tags("ada/tiny", "", 9) == []
    assert "No tag is left" in ada.get("/models/ada/tiny").text


def test_a_deleted_model_cannot_be_had_by_its_digests_either(door: PagesDoor) -> None:
    ada = door.person("ada")
    had = []
    for weights in (b"replaced", b"newest"):
        publish(door, "ada/tiny", layers={"model": weights})
        had.append(manifest_of(door, "ada/tiny", "latest"))
    child = {"mediaType": DOCKER_MANIFEST, "digest": str(had[1].digest), "size": len(had[1].raw)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    door.depot.publish("ada/tiny", Manifest.parse(json.dumps(index).encode()), "all")
    had.append(manifest_of(door, "ada/tiny", "all"))

    ada.get("/models/ada/tiny").form(having="delete").send(name="ada/tiny")

    assert [door.depot.manifest("ada/tiny", each.digest) for each in had] == [None, None, None]


def test_what_is_pushed_under_a_deleted_models_name_is_not_public_because_that_was(door: PagesDoor) -> None:
    ada = door.person("ada")
    publish(door, "ada/tiny", layers={"model": b"for all"})
    door.rights.set_public("ada/tiny", True)

    ada.get("/models/ada/tiny").form(having="delete").send(name="ada/tiny")
    publish(door, "ada/tiny", layers={"model": b"a secret"})

    assert door.rights.public() == []


@pytest.mark.parametrize(
    "do", ["public", "private", "share", "take-back", "delete-tag", "delete", "", "other"]
)
def test_a_reader_changes_nothing_also_with_a_form_of_their_own_making(door: PagesDoor, do: str) -> None:
    door.person("ada")
    ben = door.person("ben")
    publish(door, "ada/tiny", "v1", layers={"model": b"x"})
    door.rights.grant("ben", "ada/tiny", Right.READ)
    fields = {"do": do, "tag": "v1", "name": "ada/tiny", "user": "ben", "right": "write", "scope": "ada"}
    page = ben.post("/models/ada/tiny", {**fields, "token": token_of(ben)})
    assert page.status == (400 if do in ("", "other") else 403)
    assert door.depot.tags("ada/tiny", "", 9)
    assert door.rights.public() == []
    assert [each.right for each in door.rights.grants("ben")] == [Right.READ]


def test_what_makers_write_into_a_model_is_shown_escaped_and_visible(door: PagesDoor) -> None:
    ada = door.person("ada")
    raw = HOSTILE.encode()
    layers = {
        "model": b"w",
        "template": raw,
        "license": raw + b"\r\nsecond line",
        "params": json.dumps({HOSTILE: HOSTILE}).encode(),
    }
    config = {"model_family": HOSTILE, "model_type": HOSTILE}
    publish(door, "ada/tiny", layers=layers, config=config, fields={"name": HOSTILE})
    page = ada.get("/models/ada/tiny")
    assert page.top.all("script") == page.top.all("head")[0].all("script")
    assert not [each for each in "\u202e\x1b\x00" if each in page.html]
    assert texts(page) == [SEEN, f"{SEEN}\nsecond line"]
    assert facts(page) == {"Family": SEEN, "Size": SEEN, SEEN: SEEN}
    assert page.text.count(SEEN) >= 8


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"not json", b'{"config":[],"descriptor":7,"model_type":{}}', b'{"a":' * 99]
)
def test_what_cannot_be_read_is_left_out(door: PagesDoor, config: bytes) -> None:
    ada = door.person("ada")
    publish(
        door, "ada/tiny", layers={"params": config or b"{", "template": b"\xff\xfe"}, config=config.decode()
    )
    page = ada.get("/models/ada/tiny")
    assert page.status == 200
    assert texts(page) == ["\ufffd\ufffd"]


def test_a_licence_of_a_megabyte_is_shown_by_its_beginning_and_many_layers_by_the_first(
    door: PagesDoor,
) -> None:
    ada = door.person("ada")
    publish(door, "ada/tiny", layers={"license": b"x" * 1_000_000})
    assert [len(each) for each in texts(ada.get("/models/ada/tiny"))] == [32 * 1024]
    assert "Licence (its beginning)" in ada.page.text
    publish(door, "ada/wide", layers={f"tensor{number}": b"t" for number in range(250)})
    assert "250 layers" in ada.get("/models/ada/wide").text
    assert "And 50 more" in ada.page.text


def test_an_index_names_its_children_and_no_line_for_ollama(door: PagesDoor) -> None:
    ada = door.person("ada")
    publish(door, "ada/tiny", "v1", layers={"model": b"x"})
    child = door.depot.manifest("ada/tiny", "v1")
    assert child is not None
    part = {"mediaType": DOCKER_MANIFEST, "digest": str(child.digest), "size": len(child.raw)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [part]}
    door.depot.publish("ada/tiny", Manifest.parse(json.dumps(index).encode()), "all", Actor("ada"))
    assert commands(ada.get("/models/ada/tiny?tag=all")) == [f"ferry pull {HOST}/ada/tiny:all"]


def token_of(browser: Browser) -> str:
    return browser.get("/account").form(having="old").fields["token"]


def test_the_machines_own_key_opens_no_page(door: PagesDoor) -> None:
    door.join("cleo", key(4))
    publish(door, "cleo/tiny", layers={"model": b"x"})
    token = door.token(key(4), "repository:cleo/tiny:pull", "registry:account:*")
    answer = Browser(door).answer("GET", "/models/cleo/tiny", Authorization=f"Bearer {token}")
    assert answer.status == 303
