"""What an entry of a mirror says: which name or repository it means, and where each name goes."""

from __future__ import annotations

from cli.options import Invocation
from registry.errors import InvalidError
from registry.model.names import DEFAULT_TAG, Name, is_host, split_scheme


def is_exact(text: str) -> bool:
    """Whether a tag or digest is said, so that one name is meant."""
    return "@" in text or ":" in text.rpartition("/")[2]


def place(invocation: Invocation, text: str) -> Name:
    """The name or repository that `text` says; HOST/NAMESPACE too, with one part behind the host."""
    if is_host(text):
        raise InvalidError(f"{text} is a host; add NAMESPACE or NAMESPACE/MODEL")
    scheme, rest = split_scheme(text)
    first, _, path = rest.strip("/").partition("/")
    if not is_exact(text) and path and "/" not in path and (scheme or looks_like_host(first)):
        return Name(first, path, DEFAULT_TAG, scheme=scheme)
    return invocation.settings.name(text.rstrip("/"))


def shown(invocation: Invocation, source: str) -> str:
    """The source as results tell it, however it is written: `HOST/REPOSITORY`; as it is where it is none."""
    try:
        return without_tag(place(invocation, source))
    except InvalidError:
        return source


def without_tag(name: Name) -> str:
    """`HOST/REPOSITORY`."""
    return f"{name.host}/{name.repository}"


def path_below(base: str, path: str) -> str | None:
    """What follows `base` in a repository's `path`: nothing or `/…`; None where it is not below it."""
    rest = path[len(base) :]
    return rest if path.lower().startswith(base.lower()) and rest[:1] in ("", "/") else None


def looks_like_host(part: str) -> bool:
    """Whether the first of two parts can only be a host."""
    return ":" in part or is_host(part, destination=True)


def target(invocation: Invocation, template: str, base: Name, name: Name) -> Name:
    """Where `name`, which is `base` or below it, goes: the same path below `template`, or as it says."""
    scheme, rest = split_scheme(template)
    head, slash, last = rest.rstrip("/").rpartition("/")
    model, colon, tag = last.partition(":")
    path = f"{head}{slash}{model}"
    below = name.repository[len(base.repository) :].strip("/")
    if "{repository}" in path:
        path = path.replace("{repository}", name.model)
    elif below:
        path = f"{path}/{below}"
    path = path.replace("{tag}", name.tag or "untagged")
    made = place(invocation, f"{scheme}://{path}" if scheme else path)
    if colon:
        return made.with_reference(
            tag.replace("{tag}", name.tag or DEFAULT_TAG).replace("{repository}", name.model)
        )
    return made.with_reference(name.digest or name.tag)
