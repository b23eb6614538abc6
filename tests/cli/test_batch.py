"""Several names in one run: which exit code ends it, and what a dry run counts."""

from __future__ import annotations

import io
import json

import pytest

from cli.batch import each
from cli.options import Invocation
from cli.render import Document, Terminal
from cli.reports import plan, summary, total
from cli.settings import Settings
from registry.contracts import How
from registry.errors import InvalidError, NotFoundError, RegistryError, StorageError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_MANIFEST, Manifest
from registry.model.names import Name

FAILURES: dict[str, type[RegistryError]] = {
    "away": TransientError,
    "missing": NotFoundError,
    "wrong": InvalidError,
    "full": StorageError,
}


def act(item: str) -> tuple[Document, str]:
    if item in FAILURES:
        raise FAILURES[item](f"{item}!")
    return {"name": item}, item


def test_what_to_do_about_many_failures_is_said_once() -> None:
    def fail(item: str) -> tuple[Document, str]:
        raise NotFoundError(f"{item}!", hint="look closer" if item < "c" else "look elsewhere")

    err = io.StringIO()
    each(Invocation(Settings({}, {}), Terminal(io.StringIO(), err)), ["a", "b", "c"], fail)

    assert err.getvalue().splitlines()[:5] == [
        *("ferry: a!", "  -> look closer", "ferry: b!", "ferry: c!", "  -> look elsewhere")
    ]


@pytest.mark.parametrize(
    ("items", "code"),
    [
        (["a", "b"], 0),
        (["a", "away"], 6),
        (["away", "away"], 6),
        (["away", "missing"], 3),  # asking again does not help the second one
        (["missing", "a", "away"], 3),
        (["wrong", "missing"], 3),
        (["missing", "full", "wrong", "a"], 8),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_mixed_failures_end_with_the_worst(items: list[str], code: int, as_json: bool) -> None:
    out, err = io.StringIO(), io.StringIO()

    assert each(Invocation(Settings({}, {}), Terminal(out, err, json=as_json)), items, act) == code

    failed = [item for item in items if item in FAILURES]
    assert [line for line in err.getvalue().splitlines() if line.startswith("ferry: ")] == [
        f"ferry: {item}!"
        for item in dict.fromkeys(failed)  # what fails alike is said once
    ]
    if as_json:
        told = json.loads(out.getvalue())
        assert [row.get("name") or row["error"]["name"] for row in told] == items
        assert [row["error"]["exit"] for row in told if "error" in row] == [FAILURES[f].exit for f in failed]
    else:
        assert out.getvalue().splitlines() == [item for item in items if item not in FAILURES]
        assert (f"{len(failed)} of {len(items)} failed" in err.getvalue()) is bool(failed)


def manifest() -> Manifest:
    def blob(data: bytes) -> dict[str, object]:
        return {"mediaType": "a/b", "digest": str(Digest.of(data)), "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": blob(b"{}"),
        "layers": [blob(bytes(1000)), blob(bytes(500))],
    }
    return Manifest.parse(json.dumps(document).encode())


def test_a_dry_run_counts_what_is_there_and_what_would_move() -> None:
    model = manifest()
    there = [(blob, None if blob.size == 500 else How.PRESENT) for blob in model.blobs()]

    told = plan(Name.parse("models.example/acme/tiny:1"), model, None, there)

    assert (told["size"], told["would_transfer"], told["transferred"]) == (1502, 500, 0)
    blobs = told["blobs"]
    assert isinstance(blobs, list)
    assert {(blob["size"], blob["how"]) for blob in blobs} == {(2, "present"), (1000, "present"), (500, None)}
    assert "1.5 KB, of which 500 B would move, tag would be created" in summary(told, "a")
    assert total([told, told], 1.0) == "2 models, 3.0 KB, of which 1.0 KB would move"


def test_a_dry_run_tells_what_would_be_mounted_from_what_would_move() -> None:
    model = manifest()
    near = [(blob, None if blob.size == 500 else How.MOUNTED) for blob in model.blobs()]

    told = plan(Name.parse("models.example/acme/tiny:1"), model, None, near)

    assert (told["would_transfer"], told["would_mount"]) == (500, 1002)
    assert "of which 500 B would move and 1.0 KB would be mounted, tag" in summary(told, "a")
    assert total([told, told], 1.0).endswith("of which 1.0 KB would move and 2.0 KB would be mounted")
