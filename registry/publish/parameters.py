"""The parameters a Modelfile may set, and the exact JSON that Ollama writes for them. Pure."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable

from registry.errors import InvalidError

_INTEGERS = {
    "num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu",
    "main_gpu", "num_thread", "draft_num_predict",
}  # fmt: skip
_FLOATS = {
    "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty",
}  # fmt: skip
_BOOLEANS = {"use_mmap"}
_LISTS = {"stop"}
_DROPPED = {
    "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat",
    "mirostat_tau", "mirostat_eta",
}  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-6, 1e21

Value = bool | float | list[str]
Parameters = dict[str, Value]


def parse(pairs: Iterable[tuple[str, str]]) -> tuple[Parameters, list[str]]:
    """The parameters that `pairs` of name and text set, and a warning for each that Ollama ignores.

    The last value of a name counts; those of a list add up. InvalidError for an unknown name or a bad value.
    """
    parameters: Parameters = {}
    warnings: list[str] = []
    for name, text in pairs:
        if name in _DROPPED:
            warnings.append(f"parameter {name} means nothing any more and is left out")
        elif name in _LISTS:
            so_far = parameters.setdefault(name, [])
            assert isinstance(so_far, list)
            so_far.append(text)
        else:
            parameters[name] = _value(name, text)
    return parameters, warnings


def _value(name: str, text: str) -> Value:
    if name in _INTEGERS:
        if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
            return float(int(text))
        raise InvalidError(f"parameter {name}: {text[:40]!r} is not a whole number")
    if name in _FLOATS:
        if _FLOAT.fullmatch(text):
            return _single(name, text)
        raise InvalidError(f"parameter {name}: {text[:40]!r} is not a number")
    if name in _BOOLEANS:
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise InvalidError(f"parameter {name}: {text[:40]!r} is neither true nor false")
    known = ", ".join(sorted(_INTEGERS | _FLOATS | _BOOLEANS | _LISTS))
    raise InvalidError(f"there is no parameter {name[:40]!r}", hint=f"known: {known}")


def _single(name: str, text: str) -> float:
    """A number rounded to 32 bits, as the shortest decimal that means the same 32 bits."""
    value = _rounded(float(text))
    if math.isinf(value):
        raise InvalidError(f"parameter {name}: {text[:40]!r} is too large")
    return next(
        (short for digits in range(1, 9) if _rounded(short := float(f"{value:.{digits}g}")) == value),
        float(f"{value:.9g}"),
    )


def _rounded(value: float) -> float:
    """The nearest 32-bit float; infinity beyond the largest."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


def written(document: object) -> bytes:
    """JSON as Go writes it: compact, keys as they come, `<`, `>` and `&` escaped, one newline at the end."""
    return f"{_json(document)}\n".encode()


def _json(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_text(str(key))}:{_json(item)}' for key, item in value.items())}}}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def _text(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        escaped = escaped.replace(character, f"\\u{ord(character):04x}")
    return escaped


def _number(value: float) -> str:
    """A 64-bit float: plain decimals from 1e-6 up to 1e21, else an exponent without padding."""
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits, exponent = _scientific(value)
    if _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return _plain(digits, exponent, value < 0)
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{'-' if value < 0 else ''}{mantissa}e{'+' if exponent >= 0 else '-'}{abs(exponent)}"


def _scientific(value: float) -> tuple[str, int]:
    """The shortest digits that mean `value`, and the power of ten of the first one."""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    first = (
        len(whole.lstrip("0")) - 1 if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0")) + 1)
    )
    return digits.rstrip("0") or "0", first + int(exponent or 0)


def _plain(digits: str, exponent: int, negative: bool) -> str:
    if exponent < 0:
        text = f"0.{'0' * (-exponent - 1)}{digits}"
    elif len(digits) <= exponent + 1:
        text = digits.ljust(exponent + 1, "0")
    else:
        text = f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
    return f"-{text}" if negative else text
