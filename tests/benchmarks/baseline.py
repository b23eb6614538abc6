"""The least a Python program can do to pull or push one blob: what the engine's worth is measured against.

`baseline.py pull URL DIGEST FILE` reads, hashes and writes in one thread; `baseline.py push URL DIGEST FILE`
sends the file in one PUT. No resuming, no retries, no parallel ranges, no sync.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from urllib.parse import urljoin

import requests

CHUNK = 1 << 20


def pull(session: requests.Session, url: str, digest: str, path: Path) -> None:
    seen = hashlib.sha256()
    with session.get(url, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        with path.open("wb") as file:
            while chunk := answer.raw.read(CHUNK):
                seen.update(chunk)
                file.write(chunk)
    if "sha256:" + seen.hexdigest() != digest:
        sys.exit("the bytes are not the digest's")


def push(session: requests.Session, url: str, digest: str, path: Path) -> None:
    began = session.post(url)
    began.raise_for_status()
    location = urljoin(url, began.headers["Location"])
    location += ("&" if "?" in location else "?") + f"digest={digest}"
    with path.open("rb") as file:
        session.put(
            location, data=file, headers={"Content-Type": "application/octet-stream"}
        ).raise_for_status()


def main() -> None:
    verb, url, digest, path = sys.argv[1:]
    session = requests.Session()
    session.trust_env = False
    {"pull": pull, "push": push}[verb](session, url, digest, Path(path))


if __name__ == "__main__":
    main()
