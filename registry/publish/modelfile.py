"""How a model is described: the Modelfile, as a list of instructions. Pure.

Ollama's Modelfile grammar as its client reads it: a value is trimmed, then unquoted; quotes close only at
the end of a line; there are no escapes, continuations or single quotes.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from registry.errors import InvalidError

MODELFILE_BYTES = 64 * 1024 * 1024  # licences are inside
INSTRUCTIONS = (
    "FROM", "TEMPLATE", "SYSTEM", "PARAMETER", "ADAPTER", "DRAFT", "RENDERER", "PARSER", "LICENSE", "MESSAGE",
    "REQUIRES",
)  # fmt: skip
ROLES = ("system", "user", "assistant")
_WORD = re.compile(r"[A-Za-z]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*+)*+")  # blank lines and comments
_LINE_END = re.compile(r"\r\n|\r|\n")
# A quote closes at the end of a line only.
_CLOSED = {quote: re.compile(quote + r"[ \t]*+(?=[\r\n]|\Z)") for quote in ('"""', '"')}
_PARAMETER = re.compile(r"[A-Za-z0-9_]*")
# What `PARAMETER` may be followed by besides a parameter: it then acts as that instruction.
_ALSO = {"template", "system", "license", "renderer", "parser", "requires"}
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its `name` in capitals, the parameter or role in `about`, its unquoted value."""

    name: str
    value: str
    about: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A Modelfile's instructions, in order."""

    instructions: tuple[Instruction, ...]

    @classmethod
    def parse(cls, data: bytes) -> Modelfile:
        """Read a Modelfile: UTF-8, or UTF-16 with its mark. InvalidError names the line."""
        if len(data) > MODELFILE_BYTES:
            raise InvalidError(f"the Modelfile is longer than {MODELFILE_BYTES} bytes")
        return cls(tuple(_Parser(_decoded(data)).instructions()))

    def all(self, name: str) -> list[Instruction]:
        """Every instruction of that name, in order."""
        return [each for each in self.instructions if each.name == name]

    def last(self, name: str) -> str:
        """The value of the last instruction of that name; "" if there is none."""
        found = self.all(name)
        return found[-1].value if found else ""


def _decoded(data: bytes) -> str:
    """The text without what does not print: Ollama drops that everywhere, also inside quotes."""
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in _ENCODINGS if data.startswith(mark)), (b"", "utf-8")
    )
    data = data[len(mark) :]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidError(f"the Modelfile is not {encoding.upper()} text at byte {error.start}") from None
    return text.translate(dict.fromkeys(map(ord, dropped(text))))


def dropped(text: str) -> list[str]:
    """The characters of `text` that no Modelfile can hold, in order; each once."""
    return [character for character in dict.fromkeys(text) if not _stays(character)]


def _stays(character: str) -> bool:
    return character in " \t\r\n" or unicodedata.category(character)[0] in "LMNPS"


class _Parser:
    """The text, read forward."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0  # up to where the ends of lines were counted
        self._lines = 1

    def instructions(self) -> list[Instruction]:
        """All of them."""
        found: list[Instruction] = []
        while self._skip_to_instruction():
            found.append(self._instruction())
        return found

    def _skip_to_instruction(self) -> bool:
        """Pass over blank lines and comments; False at the end."""
        found = _BETWEEN.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _instruction(self) -> Instruction:
        line = self._line()
        word = self._word(_WORD)
        name = word.upper()
        if name not in INSTRUCTIONS:
            known = ", ".join(INSTRUCTIONS)
            raise InvalidError(
                f"Modelfile line {line}: {word[:40]!r} is no instruction", hint=f"known: {known}"
            )
        self._space(name, line)
        if name == "PARAMETER":
            return self._parameter(line)
        about = ""
        if name == "MESSAGE":
            about = self._word(_WORD)
            if about not in ROLES:
                raise InvalidError(f"Modelfile line {line}: {about[:40]!r} is not one of {', '.join(ROLES)}")
            self._space("MESSAGE", line)
        return Instruction(name, self._value(line), about, line)

    def _parameter(self, line: int) -> Instruction:
        about = self._word(_PARAMETER)
        if not about:
            raise InvalidError(f"Modelfile line {line}: PARAMETER needs a name and a value")
        self._space(f"PARAMETER {about[:40]}", line)
        if about in _ALSO:
            return Instruction(about.upper(), self._value(line), "", line)
        return Instruction("PARAMETER", self._value(line), about, line)

    def _word(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        word = found[0] if found else ""
        self._at += len(word)
        return word or self._text[self._at : self._at + 1]

    def _space(self, after: str, line: int) -> None:
        if self._text[self._at : self._at + 1] not in (" ", "\t"):
            raise InvalidError(f"Modelfile line {line}: {after} needs a value on the same line")
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1

    def _value(self, line: int) -> str:
        """Up to the end of the line; what begins with a quote, up to the first line that ends with it."""
        for quote, closed in _CLOSED.items():
            if self._text.startswith(quote, self._at):
                begin = self._at + len(quote)
                found = closed.search(self._text, begin)
                if found is None:
                    raise InvalidError(f"Modelfile line {line}: a quote is opened and never closed")
                self._at = found.end()
                return self._text[begin : found.start()]
        begin, self._at = self._at, self._end_of_line()
        return self._text[begin : self._at].strip()

    def _end_of_line(self) -> int:
        found = _LINE_END.search(self._text, self._at)
        return found.start() if found else len(self._text)

    def _line(self) -> int:
        """The line's number; each line is counted once."""
        self._lines += sum(1 for _ in _LINE_END.finditer(self._text, self._counted, self._at))
        self._counted = self._at
        return self._lines
