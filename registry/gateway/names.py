"""What cloud models are called here and there: `gpt-oss:120b-cloud` is `gpt-oss:120b` at ollama.com.

PROTOCOL section 5: a name whose tag is `cloud`, or ends in `-cloud`, is a cloud model's.
"""

from __future__ import annotations

_TAG = "cloud"
_SUFFIX = f"-{_TAG}"
_LATEST = "latest"


def base(name: str) -> str | None:
    """What `name` is called at the other end; None where it does not say that it is a cloud model's."""
    model, tag = _split(name)
    if not model:
        return None
    if tag == _TAG:
        return model
    return f"{model}:{tag.removesuffix(_SUFFIX)}" if tag.endswith(_SUFFIX) and tag != _SUFFIX else None


def listed(name: str) -> str:
    """The name under which programs here see the model `name` of the other end."""
    model, tag = _split(name)
    return f"{model}:{tag}{_SUFFIX}" if tag else f"{model}:{_TAG}"


def same(one: str, other: str) -> bool:
    """Whether two names are one: a name without a tag has the tag `latest`."""
    return _whole(one) == _whole(other)


def _whole(name: str) -> tuple[str, str]:
    model, tag = _split(name)
    return model.lower(), tag.lower() or _LATEST


def _split(name: str) -> tuple[str, str]:
    """Model and tag, "" without one; a colon before the last slash is a port's."""
    before, slash, last = name.rpartition("/")
    model, _, tag = last.partition(":")
    return f"{before}{slash}{model}", tag
