"""That a tag stays where it is, as a registry says it before anything is sent: `X-Ferry-Immutable`, ours.

It stands in the answer to a HEAD of the tag's manifest, for who may write there: the sentence that a push of
another manifest would be refused with. Who reads it need not send the blobs first.
"""

from __future__ import annotations

IMMUTABLE = "X-Ferry-Immutable"
