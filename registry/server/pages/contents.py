"""What is in a model, read out of its manifest and its small documents, for people to see.

Everything here was made by somebody else: it is bounded, and what cannot be read is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.model.manifests import OLLAMA, Descriptor, Kind, Manifest, decode_json

_TEXT_BYTES = 32 * 1024  # of a template or a licence that are shown
_CONFIG_BYTES = 256 * 1024
_MOST_LAYERS = 200  # shown of a model: a tensor model has thousands
_MOST_VALUES = 100
_MOST_TEXTS = 20
_VALUE = 400  # characters
_MODEL_PACK = "application/vnd.cncf.model."
# What the configuration of a model says, and how people call it.
_CONFIG = (
    ("model_family", "Family"),
    ("model_type", "Size"),
    ("file_type", "Quantisation"),
    ("model_format", "Format"),
    ("capabilities", "Capabilities"),
    ("context_length", "Context"),
    ("base_name", "Base"),
    ("remote_model", "Runs remotely as"),
    ("remote_host", "Runs remotely at"),
    ("requires", "Needs Ollama"),
)
_DESCRIPTOR = (("family", "Family"), ("name", "Name"))
_PACK = (
    ("architecture", "Architecture"),
    ("paramSize", "Size"),
    ("quantization", "Quantisation"),
    ("format", "Format"),
)
# Where a layer says what its file or tensor is called.
_NAMES = ("org.cncf.model.filepath", "org.opencontainers.image.title")
# Layers that are texts, in the order in which they are shown.
_TEXTS = {
    "system": "System prompt",
    "template": "Template",
    "prompt": "Template",
    "messages": "Messages",
    "license": "Licence",
}

Read = Callable[[Digest, int], bytes | None]
"""The first bytes of a blob, at most so many; None if it is not there."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of a model; `size` in bytes. `name`: a file's or a tensor's, as its maker wrote it."""

    kind: str
    media_type: str
    digest: str
    size: int
    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text in a model, perhaps only its beginning (`cut`)."""

    title: str
    text: str
    cut: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What one tag stands for. `more`: how many layers are not among `layers`."""

    digest: str
    media_type: str
    ollama: bool
    facts: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    layers: tuple[Layer, ...]
    more: int
    texts: tuple[Text, ...]

    @classmethod
    def of(cls, manifest: Manifest, read: Read) -> Contents:
        """What `manifest` says, with the small documents that `read` finds."""
        parts = manifest.children if manifest.kind is Kind.INDEX else manifest.layers
        config = _config(manifest, read)
        return cls(
            str(manifest.digest),
            manifest.media_type,
            any(each.media_type.startswith(OLLAMA) for each in manifest.layers),
            tuple(_facts(config)),
            tuple(islice(_parameters(manifest, read), _MOST_VALUES)),
            tuple(_layer(each) for each in parts[:_MOST_LAYERS]),
            max(0, len(parts) - _MOST_LAYERS),
            tuple(islice(_texts(manifest, read), _MOST_TEXTS)),
        )


def _layer(part: Descriptor) -> Layer:
    annotations = part.fields.get("annotations")
    named = annotations if isinstance(annotations, dict) else {}
    names = (part.fields.get("name"), *(named.get(each) for each in _NAMES))
    name = next((each[:_VALUE] for each in names if isinstance(each, str)), "")
    return Layer(_kind(part), part.media_type, str(part.digest), part.size, name)


def _kind(part: Descriptor) -> str:
    """A layer's kind in a word: `model`, `license`; "" for a type that is not known."""
    if part.media_type.startswith(OLLAMA):
        return part.media_type.removeprefix(OLLAMA)
    if part.media_type.startswith(_MODEL_PACK):
        return part.media_type.removeprefix(_MODEL_PACK).partition(".v1")[0]
    return ""


def _config(manifest: Manifest, read: Read) -> Mapping[str, object]:
    """The configuration's object, empty if there is none that can be read."""
    config = manifest.config
    return _object(read(config.digest, config.size)) if config and config.size <= _CONFIG_BYTES else {}


def _facts(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    read = ((config, _CONFIG), (config.get("descriptor"), _DESCRIPTOR), (config.get("config"), _PACK))
    for document, names in read:
        if isinstance(document, dict):
            for key, name in names:
                shown = _shown(document.get(key))
                if shown:
                    yield name, shown


def _parameters(manifest: Manifest, read: Read) -> Iterator[tuple[str, str]]:
    for part in manifest.layers:
        if part.media_type == f"{OLLAMA}params" and part.size <= _CONFIG_BYTES:
            for key, value in _object(read(part.digest, part.size)).items():
                for each in value if isinstance(value, list) else [value]:
                    yield key[:_VALUE], _shown(each)


def _texts(manifest: Manifest, read: Read) -> Iterator[Text]:
    for kind, title in _TEXTS.items():
        for part in manifest.layers:
            if part.media_type == OLLAMA + kind and (data := read(part.digest, _TEXT_BYTES)):
                yield Text(title, data.decode("utf-8", "replace"), part.size > len(data))


def _object(data: bytes | None) -> Mapping[str, object]:
    with suppress(InvalidError):
        document = decode_json(data or b"", "the document")
        if isinstance(document, dict):
            return document
    return {}


def _shown(value: object) -> str:
    """A value of a document in a line; "" for none."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value[:_MOST_VALUES])
    if value in (None, "") or isinstance(value, dict | list):
        return ""
    return (value if isinstance(value, str) else json.dumps(value))[:_VALUE]
