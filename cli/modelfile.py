"""A model's parts written back as a Modelfile (CREATE.md), as `ferry show --modelfile` prints it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from registry.errors import InvalidError
from registry.model.manifests import OLLAMA, decode_json

_FILES = {"model": "FROM", "projector": "FROM", "adapter": "ADAPTER", "draft": "DRAFT"}
_TEXTS = {"template": "TEMPLATE", "prompt": "TEMPLATE", "system": "SYSTEM", "license": "LICENSE"}
SMALL = (*_TEXTS, "params", "messages")  # the kinds whose content is text in the Modelfile

Part = tuple[str, str]  # a layer's kind, and its file's path or its text


def kind(media_type: str) -> str:
    """The last word of Ollama's layer types, "" for others."""
    return media_type.removeprefix(OLLAMA) if media_type.startswith(OLLAMA) else ""


def written(name: str, parts: Sequence[Part], config: Mapping[str, object]) -> str:
    """The Modelfile that makes this model again. InvalidError for params or messages that are not JSON."""
    lines = [
        f"# Modelfile of {name}, written by ferry show",
        f"# To build on it instead: FROM {name}",
        "",
        *(f"{_FILES[part]} {text}" for part, text in parts if part in _FILES),
    ]
    for part, text in parts:
        if part in _TEXTS:
            lines.append(f"{_TEXTS[part]} {_quoted(text)}")
        elif part == "params":
            lines.extend(_parameters(text))
        elif part == "messages":
            lines.extend(_messages(text))
    for key in ("renderer", "parser", "requires"):
        if config.get(key):
            lines.append(f"{key.upper()} {config[key]}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"""{text}"""' if "\n" in text or '"' in text or text != text.strip() or not text else text


def _parameters(text: str) -> Iterator[str]:
    params = decode_json(text.encode(), "params")
    if not isinstance(params, dict):
        raise InvalidError("params: is not a JSON object")
    for key, value in params.items():
        for item in value if isinstance(value, list) else [value]:
            yield f"PARAMETER {key} {_quoted(item) if isinstance(item, str) else json.dumps(item)}"


def _messages(text: str) -> Iterator[str]:
    messages = decode_json(text.encode(), "messages")
    if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
        raise InvalidError("messages: is not a list of JSON objects")
    for item in messages:
        yield f"MESSAGE {item.get('role', 'user')} {_quoted(str(item.get('content', '')))}"
