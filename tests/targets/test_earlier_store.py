"""What Ferry 0.1 left on a disk stays good: nothing is fetched, hashed or sent again because of an update."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import earlier_store as earlier
import pytest
from archives import unpack
from invariants import check_store
from sample_models import get, put

from registry.contracts import Reading
from registry.disk.journal import journal_key, read_sums
from registry.disk.sums import spans_of
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.memory import Memory
from registry.targets.sessions import UploadSession, file_sessions
from registry.targets.store import Store
from registry.transfer.copy import copy

CHECK_FILE = "registry.targets.blob_checks.check_file"
FIXTURE = Path(__file__).parents[2] / "fixtures" / "store-0.1.tar.xz"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The store, with the seals of `proven` true of the files as they were unpacked."""
    unpack(FIXTURE, tmp_path)
    models = tmp_path / "models"
    record = models / ".ferry" / "proven"
    record.write_text("".join(of_this_disk(models, line) for line in record.read_text().splitlines()))
    return models


def of_this_disk(models: Path, line: str) -> str:
    """A line as 0.1 wrote it, for the same blob with the time and inode it has now."""
    digest, size, *_ = line.split()
    there = (models / "blobs" / digest.replace(":", "-")).stat()
    text = f"{digest} {size} {there.st_mtime_ns} {there.st_ino}"
    return f"{text} {zlib.crc32(f'ferry proven 1 {text}'.encode()):08x}\n"


class Counted(Memory):
    """Remembers which bytes were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Span] = []

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        self.asked.append(span)
        return super().open(name, blob, span)


def test_a_half_pulled_blob_is_finished_with_what_is_missing_and_no_more(models: Path) -> None:
    source = Counted()
    put(source, earlier.HALF_NAME, earlier.HALF)
    store = Store(models, grain=earlier.GRAIN)

    copy(source, store, earlier.HALF_NAME)
    store.close()

    blob = earlier.HALF.manifest.layers[0]
    assert Spans.of(source.asked) == earlier.RECEIVED.missing(blob.size)
    assert sum(span.length for span in source.asked) == blob.size - earlier.RECEIVED.total
    assert get(store, earlier.HALF_NAME) == earlier.HALF
    sums = read_sums(
        (models / ".ferry" / "sums" / f"sha256-{blob.digest.hex}").read_bytes(),
        journal_key(blob.digest, blob.size),
        blob.size,
    )
    assert spans_of(sums) == Spans.of([Span(0, blob.size)])
    check_store(models)


def test_bytes_of_a_half_pulled_blob_that_rotted_since_are_found(models: Path) -> None:
    blob = earlier.HALF.manifest.layers[0]
    data = models / ".ferry" / "partial" / f"sha256-{blob.digest.hex}.data"
    with data.open("r+b") as file:
        file.seek(2 * earlier.GRAIN + 5)
        file.write(b"rotten")
    source = Counted()
    put(source, earlier.HALF_NAME, earlier.HALF)
    store = Store(models, grain=earlier.GRAIN)

    copy(source, store, earlier.HALF_NAME)
    store.close()

    missing = [*earlier.RECEIVED.missing(blob.size), Span(2 * earlier.GRAIN, earlier.GRAIN)]
    assert Spans.of(source.asked) == Spans.of(missing)
    assert sum(span.length for span in source.asked) == sum(span.length for span in missing)
    assert get(store, earlier.HALF_NAME) == earlier.HALF


def test_what_was_proven_is_not_hashed_again(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHECK_FILE, lambda *_, **_kw: pytest.fail("hashed again"))
    store = Store(models)

    sizes = {blob.digest: store.size(earlier.WHOLE_NAME, blob) for blob in earlier.WHOLE.manifest.blobs()}

    assert sizes == {digest: len(data) for digest, data in earlier.WHOLE.blobs.items()}


def test_the_span_sums_of_a_named_blob_are_read(models: Path) -> None:
    blob = earlier.WHOLE.manifest.layers[0]
    data = (models / ".ferry" / "sums" / f"sha256-{blob.digest.hex}").read_bytes()

    sums = read_sums(data, journal_key(blob.digest, blob.size), blob.size)

    assert [piece.span for piece in sums] == list(Span(0, blob.size).cut(earlier.GRAIN))


def test_an_upload_that_was_begun_is_remembered(tmp_path: Path) -> None:
    key = "https://models.example acme/tiny sha256:00"
    document = {"key": key, "location": "https://models.example/v2/x", "least": 5, "touched": 1795701088.5}
    (tmp_path / "77e06c63b796701b84c744fb16780854c656d1e5.upload").write_text(json.dumps(document))

    assert file_sessions(tmp_path).get(key) == UploadSession("https://models.example/v2/x", 5, 1795701088.5)
