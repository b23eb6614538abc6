"""That a registry takes small blobs by a single POST, as it says where a push begins: `X-Ferry-Single-Post`.

OCI distribution specification 1.1, "Pushing a blob monolithically", "Single POST". Registries need not do
that, and one that does not may read the whole body before it says so: who sends blobs waits for this header
of ours. It stands in the answer to a HEAD of a manifest, for who may write there, and to the POST that begins
an upload: the largest such blob in bytes, and `; empty` where the repository holds nothing yet, so that who
pushes need not ask for any blob.
"""

from __future__ import annotations

import re

SINGLE_POST = "X-Ferry-Single-Post"
MOST_BYTES = 256 * 1024  # of such a blob: one that breaks off is sent again from its beginning
OFFERED = (SINGLE_POST, str(MOST_BYTES))
OFFERED_EMPTY = (SINGLE_POST, f"{MOST_BYTES}; empty")
_OFFER = re.compile(r"([0-9]{1,9})(; empty)?")


def read_single_post(value: str) -> tuple[int, bool]:
    """The largest blob in bytes that is taken so, never more than MOST_BYTES, and whether nothing is there.

    0 where nothing is offered, or nothing that can be read.
    """
    offer = _OFFER.fullmatch(value)
    return (min(int(offer[1]), MOST_BYTES), bool(offer[2])) if offer else (0, False)
