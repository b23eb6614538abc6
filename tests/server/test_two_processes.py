"""What another process takes away is gone for the very next request: API keys, shares, visibility, accounts.

Over a real socket; and so is what was issued before, tokens and links.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from peers import http_call

from registry.contracts import Actor
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.registry import Registry
from registry.server.service import Plan, Service

CONFIG = b"{}"
BLOB = Digest.of(CONFIG)
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": Descriptor(DOCKER_CONFIG, BLOB, len(CONFIG)).as_json(),
        "layers": [],
    }
).encode()
MODEL = "/v2/acme/tiny/manifests/v1"  # answered by the event loop
TAGS = "/v2/acme/tiny/tags/list"  # by a thread

# The other process: it opens the same directory, and does what it is told, one line at a time.
OTHER = """
import sys
from pathlib import Path
from test_two_processes import CHANGES
from registry.server.registry import Registry

registry = Registry.open(Path(sys.argv[1]))
for line in sys.stdin:
    what, id = line.split()
    CHANGES[what](registry, id)
    print("done", flush=True)
"""


def narrow(registry: Registry, _id: str) -> None:
    with registry.depot.engine.begin() as database:
        database.exec_driver_sql("UPDATE api_keys SET scopes = 'elsewhere/*:pull'")


CHANGES: dict[str, Callable[[Registry, str], object]] = {
    "revoke": lambda registry, id: registry.credentials.revoke_api_key(id),
    "replace": lambda registry, id: registry.api_keys.rotate("bob", id, 0),
    "narrow": narrow,
    "disable": lambda registry, _: registry.accounts.disable("bob"),
    "remove": lambda registry, _: registry.accounts.remove("bob"),
    "take-back": lambda registry, _: registry.rights.ungrant("bob", "acme/tiny", Actor()),
    "make-private": lambda registry, _: registry.rights.set_public("acme/tiny", False),
}
SHUT_OUT = {"revoke": 401, "replace": 401, "narrow": 404, "disable": 401, "remove": 401, "take-back": 404}


@dataclass
class Both:
    """A running registry with `bob`'s API key for acme/tiny, and the other process."""

    service: Service
    url: str
    other: subprocess.Popen[str]

    def change(self, what: str, id: str = "-") -> None:
        """Have the other process do it."""
        assert self.other.stdin is not None and self.other.stdout is not None
        self.other.stdin.write(f"{what} {id}\n")
        self.other.stdin.flush()
        assert self.other.stdout.readline() == "done\n"

    def status(self, path: str, bearer: str = "") -> int:
        fields = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return http_call("GET", self.url + path, headers=fields).status


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    data = tmp_path_factory.mktemp("two") / "data"
    service = Service(Plan(data))
    depot = service.registry.depot
    service.registry.accounts.add_user("acme")
    upload = depot.begin("acme/tiny")
    upload.write(CONFIG)
    upload.commit(BLOB)
    upload.close()
    depot.publish("acme/tiny", Manifest.parse(MANIFEST), "v1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", OTHER, str(data)]
    other = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    yield Both(service, service.start(), other)
    other.communicate()
    service.stop()


@pytest.mark.parametrize("what", SHUT_OUT)
def test_the_very_next_request_of_a_program_hears_of_it(both: Both, what: str) -> None:
    registry = both.service.registry
    if "bob" not in {each.name for each in registry.accounts.users()}:
        registry.accounts.add_user("bob")
    registry.accounts.enable("bob")
    registry.rights.grant("bob", "acme/tiny", Right.READ)
    made = registry.api_keys.create(registry.accounts.user("bob"), parse_scopes(["*:pull"]))
    asked = http_call(
        "GET",
        f"{both.url}/v2/token?scope=repository:acme/tiny:pull",
        headers={"Authorization": f"Bearer {made.secret}"},
    )
    token = str(json.loads(asked.body)["token"])
    bears = {"Authorization": f"Bearer {token}"}
    link = http_call("GET", f"{both.url}/v2/acme/tiny/blobs/{BLOB}", headers=bears).headers["location"]
    for _ in range(2):  # the second is answered by what the first found out
        assert {both.status(path, each) for path in (MODEL, TAGS) for each in (made.secret, token)} == {200}
        assert both.status(link) == 200

    both.change(what, made.id)

    for path in (MODEL, TAGS):
        assert [both.status(path, each) for each in (made.secret, token)] == [SHUT_OUT[what]] * 2
    assert both.status(link) == 404


def test_what_was_public_is_private_for_the_very_next_request(both: Both) -> None:
    both.service.registry.rights.set_public("acme/tiny", True)
    link = http_call("GET", f"{both.url}/v2/acme/tiny/blobs/{BLOB}").headers["location"]
    assert [both.status(path) for path in (MODEL, TAGS, link)] == [200] * 3
    both.change("make-private")
    assert [both.status(path) for path in (MODEL, TAGS, link)] == [401, 401, 404]
