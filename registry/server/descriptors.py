"""How a list of referrers names a manifest, made once, when it is pushed; and how many fill a page of it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from registry.contracts import Referrer
from registry.model.manifests import Manifest

PAGE_BYTES = 2 * 1024 * 1024  # the most that one page of descriptors has, but for a single one


def descriptor(manifest: Manifest) -> str:
    """How a list of referrers names it: compact JSON."""
    return json.dumps(dict(manifest.as_referrer().fields), separators=(",", ":"))


def until_full(found: Iterable[Referrer]) -> list[Referrer]:
    """What fills a page, and the one behind it, which shows that there is more; the rest is not read."""
    size, taken = 0, list[Referrer]()
    for each in found:
        size += len(each.descriptor)
        taken.append(each)
        if size > PAGE_BYTES and len(taken) > 1:
            break
    return taken


def fitting(found: Iterable[Referrer]) -> list[Referrer]:
    """The first of them that fit into a page of bounded size; at least one."""
    taken = until_full(found)
    if sum(len(each.descriptor) for each in taken) > PAGE_BYTES:
        return taken[:-1] or taken
    return taken
