"""What a copy did, for programs and in one line (CLI.md, "Output")."""

from __future__ import annotations

from cli.many import Document
from cli.render import size
from registry.contracts import How
from registry.transfer.progress import Report


def document(report: Report) -> Document:
    """What a copy did."""
    return {
        "name": str(report.name),
        "digest": str(report.manifest.digest),
        "size": report.size,
        "transferred": report.transferred,
        "seconds": round(report.seconds, 3),
        "blobs": [
            {
                "digest": str(item.blob.digest),
                "mediaType": item.blob.media_type,
                "size": item.blob.size,
                "transferred": item.transferred,
                "how": str(item.how),
            }
            for item in report.blobs
        ],
    }


def summary(told: Document) -> str:
    """One line: which model, how big, what moved or would."""
    whole, moved, seconds = (float(str(told[key])) for key in ("size", "transferred", "seconds"))
    digest = str(told["digest"]).partition(":")[2][:12]
    head = f"{told['name']}  {digest}  {size(int(whole))}"
    if "would_transfer" in told:
        return f"{head}, of which {size(int(str(told['would_transfer'])))} would move"
    if not moved:
        blobs = told["blobs"]
        mounted = isinstance(blobs, list) and any(blob["how"] == How.MOUNTED for blob in blobs)
        return f"{head}, {'taken from next door' if mounted else 'all of it was there'}"
    rate = f", {size(int(moved / seconds))}/s" if seconds >= 0.1 else ""
    return f"{head}, {size(int(moved))} moved in {seconds:.1f} s{rate}"
