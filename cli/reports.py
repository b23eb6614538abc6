"""What a copy did, or would do, for programs and in one line (CLI.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cli.render import Document, counted, size
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.transfer.progress import Report


def document(report: Report) -> Document:
    """What a copy did."""
    return {
        "name": str(report.name),
        "digest": str(report.manifest.digest),
        **tag(report.name, report.manifest, report.was),
        "size": report.size,
        "transferred": report.transferred,
        "seconds": round(report.seconds, 3),
        "blobs": [_blob(item.blob, item.transferred, item.how) for item in report.blobs],
    }


def plan(
    to: Name,
    manifest: Manifest,
    was: Digest | None,
    blobs: Sequence[tuple[Descriptor, How | None]],
    left: Callable[[Descriptor], int] = lambda blob: blob.size,
) -> Document:
    """What a copy would do; each blob with whether it is there already, or would be mounted (None: moved).

    `left` says how many bytes of one that moves are not there yet.
    """
    moves = sum(left(blob) for blob, how in blobs if how is None)
    mounts = sum(blob.size for blob, how in blobs if how is How.MOUNTED)
    return {
        "name": str(to),
        "digest": str(manifest.digest),
        **tag(to, manifest, was),
        "size": sum(blob.size for blob, _ in blobs),
        "transferred": 0,
        "seconds": 0,
        "blobs": [_blob(blob, 0, how) for blob, how in blobs],
        "would_transfer": moves,
        **({"would_mount": mounts} if mounts else {}),
    }


def tag(name: Name, manifest: Manifest, was: Digest | None) -> Document:
    """What becomes of the tag, and the digest it stood for before; a name by digest alone has no tag."""
    if not name.tag:
        return {"tag": None, "was": None}
    word = "created" if was is None else "unchanged" if was == manifest.digest else "moved"
    return {"tag": word, "was": str(was) if was else None}


def others(manifest: Manifest, before: Mapping[Name, Digest | None]) -> Document:
    """What becomes of the further tags, each with what it stood for before; nothing where there are none."""
    also = [{"name": str(name), **tag(name, manifest, was)} for name, was in before.items()]
    return {"also": also} if also else {}


def referrer_bytes(**moved: int) -> Document:
    """What moved of what refers to it, or would, in bytes; nothing where nothing does."""
    return {"referrers": moved} if any(moved.values()) else {}


def summary(told: Document, route: str) -> str:
    """One line: which model (and where to), how big, what moved or would, what became of the tag."""
    whole, moved, seconds = (float(str(told[key])) for key in ("size", "transferred", "seconds"))
    head = f"{route}  {_short(told['digest'])}  {size(int(whole))}"
    return f"{head}, {_moved(told, int(moved), seconds)}{_referrers(told)}{_tag(told, told)}{_others(told)}"


def total(documents: Sequence[Document], seconds: float) -> str:
    """One line for all the models of a run."""
    whole, moved, would, mounted = (
        sum(int(str(told.get(key, 0))) for told in documents)
        for key in ("size", "transferred", "would_transfer", "would_mount")
    )
    many = f"{counted(len(documents), 'model')}, {size(whole)}"
    if any("would_transfer" in told for told in documents):
        return f"{many}, {_would(would, mounted)}"
    return f"{many}, of which {size(moved)} moved in {seconds:.1f} s"


def _blob(blob: Descriptor, transferred: int, how: How | None) -> Document:
    return {
        "digest": str(blob.digest),
        "mediaType": blob.media_type,
        "size": blob.size,
        "transferred": transferred,
        "how": str(how) if how else None,
    }


def _moved(told: Document, moved: int, seconds: float) -> str:
    if "would_transfer" in told:
        return _would(int(str(told["would_transfer"])), int(str(told.get("would_mount", 0))))
    if moved:
        rate = f", {size(int(moved / seconds))}/s" if seconds >= 0.1 else ""
        return f"{size(moved)} moved in {seconds:.1f} s{rate}"
    blobs = told["blobs"]
    mounted = isinstance(blobs, list) and any(blob["how"] == How.MOUNTED for blob in blobs)
    return "shared inside the registry, nothing moved" if mounted else "all of it was there"


def _would(move: int, mount: int) -> str:
    counts = {"move": move, "be mounted": mount}
    parts = [f"{size(count)} would {what}" for what, count in counts.items() if count]
    return f"of which {' and '.join(parts)}" if parts else "all of it is there"


def _referrers(told: Document) -> str:
    """Signatures, SBOMs."""
    match told.get("referrers"):
        case {"would_transfer": int(count)}:
            return f", {size(count)} that refers to it would move"
        case {"transferred": int(count)}:
            return f", {size(count)} that refers to it moved"
    return ""


def _tag(told: Document, of: Document, word: str = "tag") -> str:
    would = "would_transfer" in told
    match of["tag"]:
        case "created":
            return f", {word} would be created" if would else f", {word} created"
        case "moved":
            return f", {word} {'would move' if would else 'moved'} from {_short(of['was'])}"
        case "unchanged":
            return f", {word} unchanged"
    return ""


def _others(told: Document) -> str:
    also = told.get("also")
    named = also if isinstance(also, list) else []
    return "".join(_tag(told, each, str(each["name"]).rpartition(":")[2]) for each in named)


def _short(digest: object) -> str:
    return str(digest).partition(":")[2][:12]
