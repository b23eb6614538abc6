"""A model's parts written back as a Modelfile (CREATE.md), as `ferry show --modelfile` prints it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from registry.errors import InvalidError
from registry.model.manifests import OLLAMA, decode_json
from registry.publish import parameters
from registry.publish.modelfile import ROLES, Modelfile, dropped

_FILES = {"model": "FROM", "projector": "FROM", "adapter": "ADAPTER", "draft": "DRAFT"}
_TEXTS = {"template": "TEMPLATE", "prompt": "TEMPLATE", "system": "SYSTEM", "license": "LICENSE"}
SMALL = (*_TEXTS, "params", "messages")  # the kinds whose content is text in the Modelfile

Part = tuple[str, str]  # a layer's kind, and its file's path or its text (as `text` reads it)
_Line = tuple[str, str]  # a line or more of the Modelfile, and what is not said by it, or ""


@dataclass(frozen=True, slots=True)
class Written:
    """A Modelfile, and a sentence for each thing of the model that it cannot say."""

    text: str
    lost: tuple[str, ...]


def kind(media_type: str) -> str:
    """The last word of Ollama's layer types, "" for others."""
    return media_type.removeprefix(OLLAMA) if media_type.startswith(OLLAMA) else ""


def text(data: bytes) -> str:
    """A small layer's text; what is not UTF-8 in it is kept, and found out by `written`."""
    return data.decode("utf-8", "surrogateescape")


def written(name: str, parts: Sequence[Part], config: Mapping[str, object]) -> Written:
    """The Modelfile that makes this model again. InvalidError for params or messages that are not JSON."""
    lines = [(f"# Modelfile of {name}, written by ferry show", ""), ("", "")]
    lines += [_line(_FILES[part], content, f"the {part}'s path") for part, content in parts if part in _FILES]
    for part, content in parts:
        if part in _TEXTS:
            lines.append(_line(_TEXTS[part], content, f"the {part}"))
        elif part == "params":
            lines.extend(_parameters(content))
        elif part == "messages":
            lines.extend(_messages(content))
        elif part not in _FILES:
            lines.append(_lost(f"a Modelfile has no word for a layer of kind {part or 'unknown'}"))
    for key in ("renderer", "parser", "requires"):
        if config.get(key):
            lines.append(_line(key.upper(), str(config[key]), f"the {key}"))
    lost = tuple(dict.fromkeys(problem for _, problem in lines if problem))
    return Written("\n".join(line for line, _ in lines) + "\n", lost)


def _line(head: str, content: str, what: str) -> _Line:
    """`content` as the value of an instruction that begins with `head`."""
    problem = ""
    try:
        content.encode()
    except UnicodeEncodeError:
        problem = f"{what} is not UTF-8 text"
        content = content.encode("utf-8", "replace").decode()
    for spelled in _spellings(content):
        if not problem and _reads_as(f"{head} {spelled}", content):
            return f"{head} {spelled}", ""
    if not problem and (characters := dropped(content)):
        told = ", ".join(f"U+{ord(character):04X}" for character in characters[:5])
        problem = f"{what} has characters that a Modelfile cannot hold: {told}"
    problem = problem or f"{what} has a line that ends with a quote, where a Modelfile would take it to end"
    comment, _ = _lost(problem)
    return f'{comment}\n{head} """{content}"""', problem


def _lost(problem: str) -> _Line:
    return f"# Not as it is in the model: {problem}", problem


def _spellings(content: str) -> Iterator[str]:
    """The ways to write a value, the plainest first."""
    if '"' not in content and "\n" not in content:
        yield content
    yield f'"""{content}"""'
    yield content
    yield f'"{content}"'


def _reads_as(line: str, content: str) -> bool:
    try:
        found = Modelfile.parse(line.encode()).instructions
    except InvalidError:
        return False
    return [each.value for each in found] == [content]


def _parameters(content: str) -> Iterator[_Line]:
    params = decode_json(content.encode("utf-8", "surrogateescape"), "params")
    if not isinstance(params, dict):
        raise InvalidError("params: is not a JSON object")
    for key, value in params.items():
        texts = [_spelled(item) for item in (value if isinstance(value, list) else [value])]
        if not _sets(key, texts, value):
            yield _lost(f"parameter {key[:40]!r} cannot be set to its value by a Modelfile")
        else:
            yield from (_line(f"PARAMETER {key}", item, f"parameter {key}") for item in texts)


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sets(key: str, texts: Iterable[str], value: object) -> bool:
    """Whether `PARAMETER` lines with `texts` set `key` to `value`."""
    try:
        set_to, _ = parameters.parse((key, each) for each in texts)
    except InvalidError:
        return False
    return set_to == {key: value}


def _messages(content: str) -> Iterator[_Line]:
    messages = decode_json(content.encode("utf-8", "surrogateescape"), "messages")
    if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
        raise InvalidError("messages: is not a list of JSON objects")
    for item in messages:
        match item:
            case {"role": str(role), "content": str(said), **rest} if role in ROLES and not rest:
                yield _line(f"MESSAGE {role}", said, "a message")
            case _:
                yield _lost("a message has more than a role and a text, or a role that is not known")
