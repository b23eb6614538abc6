"""`fixtures/serve-0.1.tar.xz`: a data directory that the code of Ferry 0.1 made, before its tables changed.

Accounts root (an administrator), ada, ben, cleo (disabled), with the test keys 1 to 4, and ada's key 11,
which was revoked. ben may write in acme and read ada/tiny; ada nothing in acme/secret; cleo read in lonely.
ada/tiny and later/model are public. Repositories:
- ada/tiny: `latest` was moved once and is `v1` too; a signature has it as its subject; a blob nobody names;
- acme/tiny: `all` is an index of two manifests, one of which was deleted, which 0.1 allowed;
- team/deep/model: `v2`. ben/half: an upload of 10 bytes that was not closed.
One nonce of ada's first key is spent until the year 2096.
"""

from __future__ import annotations

from pathlib import Path

from archives import unpack

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "serve-0.1.tar.xz"
NOW = 1_790_000_000.0  # when it was begun; each step one second later


def unpacked(place: Path) -> Path:
    """The data directory of 0.1, below `place`."""
    unpack(ARCHIVE, place)
    return place / "serve-0.1"
