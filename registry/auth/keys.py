"""The ed25519 keys of people and machines, as OpenSSH writes them (PROTOCOL section 4, "Key").

Pure but for `load_key` and `ensure_key`, which decide *which* file; `disk.secrets` reads and writes it.
`cryptography` is imported where a key is read or used: it takes 15 ms, and many a pull needs no key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry.disk.secrets import create_once, read_secret
from registry.errors import InvalidError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES = 32
SIGNATURE_BYTES = 64
_KEY_FILE_BYTES = 16 * 1024
_LINE_LENGTH = 1024
_TYPE = "ssh-ed25519"
_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_ARMOUR = re.compile(f"{_BEGIN}(.*){_END}", re.DOTALL)
_OPENSSH_MAGIC = b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
_MAKE_ONE = "make one: ssh-keygen -t ed25519 -N '' -f FILE"

# RFC 8709 section 4: string "ssh-ed25519", string of 32 bytes; both lengths are fixed.
_WIRE_PREFIX = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ed25519 public key; its 32 bytes have exactly one spelling in each form."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != SEED_BYTES:
            raise InvalidError(f"an ed25519 public key is {SEED_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key whose `text` this is. Only the one spelling: otherwise a key would have several names."""
        if len(text) > _LINE_LENGTH:
            raise InvalidError("that is too long to be an ed25519 public key")
        try:
            wire = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidError("that is not the base64 text of a public key") from None
        if not wire.startswith(_WIRE_PREFIX):
            raise InvalidError("that is not an ed25519 public key", hint=_MAKE_ONE)
        key = cls(wire[len(_WIRE_PREFIX) :])
        if key.text != text:
            raise InvalidError("that is not the base64 text of a public key as OpenSSH writes it")
        return key

    @classmethod
    def parse_line(cls, line: str) -> PublicKey:
        """The key in a `.pub` file's one line, `ssh-ed25519 AAAA… [comment]`."""
        words = line.split(maxsplit=2)
        if "PRIVATE KEY" in line:
            raise InvalidError(
                "that is a private key", hint="give the .pub file beside it, and keep this one"
            )
        if len(line.strip().splitlines()) != 1 or len(words) < 2:
            raise InvalidError("a public key is one line: ssh-ed25519 AAAA… comment", hint=_MAKE_ONE)
        if words[0] != _TYPE:
            raise InvalidError(f"a {words[0][:40]} key cannot be used, only {_TYPE}", hint=_MAKE_ONE)
        return cls.parse(words[1])

    @classmethod
    def parse_connect(cls, text: str) -> PublicKey:
        """The key as it stands in URLs: see `connect`."""
        try:
            line = base64.b64decode(f"{text[:_LINE_LENGTH]}{'=' * (-len(text) % 4)}", b"-_", validate=True)
            key = cls.parse_line(line.decode("ascii"))
        except (binascii.Error, ValueError):
            raise InvalidError("that is not a public key as it stands in an address") from None
        if key.connect != text:
            raise InvalidError("that is not a public key as it stands in an address")
        return key

    @property
    def text(self) -> str:
        """The middle field of the public line: how a signature names its key."""
        return base64.b64encode(_WIRE_PREFIX + self.raw).decode()

    @property
    def line(self) -> str:
        """`ssh-ed25519 AAAA…`, without comment and newline."""
        return f"{_TYPE} {self.text}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(_WIRE_PREFIX + self.raw).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def connect(self) -> str:
        """The public line as it stands in URLs: URL-safe base64 without padding."""
        return base64.urlsafe_b64encode(self.line.encode()).decode().rstrip("=")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made `signature` (raw, 64 bytes) for `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return self.fingerprint


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An ed25519 private key, known by its 32-byte seed; never shows it."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise InvalidError(f"an ed25519 private key is {SEED_BYTES} bytes, not {len(self.seed)}")

    @classmethod
    def parse(cls, text: str, where: str = "the key") -> PrivateKey:
        """The key in an unencrypted OpenSSH private key file's text; InvalidError says what it is instead.

        The text may have been put into one line, as CI systems want their secrets: with `\\n` or spaces for
        its ends of line, or as the base64 of all of it.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        text = _in_lines(text)
        if text.lstrip().startswith(("ssh-", "ecdsa-", "sk-")):
            raise InvalidError(f"{where} is a public key", hint="give the file without .pub")
        if "-----BEGIN" not in text:
            raise InvalidError(f"{where} is not an OpenSSH private key", hint=_MAKE_ONE)
        if "-----BEGIN OPENSSH PRIVATE KEY-----" not in text:
            kind = text.partition("-----BEGIN ")[2].partition("-----")[0][:40]
            raise InvalidError(f"{where} is {kind!r}, not an OpenSSH ed25519 key", hint=_MAKE_ONE)
        try:
            key = load_ssh_private_key(text.encode(), None)
        except TypeError:
            raise InvalidError(
                f"{where} is encrypted with a passphrase",
                hint=f"Ferry reads unencrypted keys, as Ollama does; {_MAKE_ONE}",
            ) from None
        except (ValueError, UnsupportedAlgorithm, NotImplementedError, UnicodeError):
            raise InvalidError(
                f"{where} is damaged, or of a kind Ferry does not read", hint=_MAKE_ONE
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            kind = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
            raise InvalidError(f"{where} is an {kind} key, not ed25519", hint=_MAKE_ONE)
        return cls(key.private_bytes_raw())

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The raw 64-byte signature of `message`."""
        return self._key.sign(message)

    def openssh(self) -> str:
        """The text of an unencrypted OpenSSH private key file."""
        from cryptography.hazmat.primitives import serialization

        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        ).decode()

    @property
    def _key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)


def _in_lines(text: str) -> str:
    """The key file's text with its lines as OpenSSH writes them; any other text as it is."""
    text = text.strip()
    with contextlib.suppress(ValueError):
        decoded = base64.b64decode("".join(text.split()), validate=True)
        if decoded.lstrip().startswith(b"-----BEGIN"):
            text = decoded.decode("ascii", "replace")
        elif decoded.startswith(_OPENSSH_MAGIC):
            text = f"{_BEGIN}{text}{_END}"
    found = _ARMOUR.search(text)
    if found is None:
        return text
    body = "".join(found[1].replace("\\n", "").replace("\\r", "").split())
    return "\n".join((_BEGIN, *textwrap.wrap(body, 70), _END, ""))


def load_key(path: Path) -> PrivateKey:
    """The key in the file at `path`.

    InvalidError if it is missing, encrypted, of another kind or garbage; DeniedError if others may
    read it; StorageError.
    """
    if path.suffix == ".pub":  # readable by everyone, so ask before the file's mode does
        raise InvalidError(f"{path} is a public key", hint="give the file without .pub")
    data = read_secret(path, _KEY_FILE_BYTES)
    if data is None:
        raise InvalidError(f"there is no key at {path}", hint=f"ssh-keygen -t ed25519 -N '' -f {path}")
    return PrivateKey.parse(data.decode("ascii", "replace"), str(path))


def ensure_key(path: Path, seed: bytes, comment: str = "") -> PrivateKey:
    """The key at `path`, made from `seed` (32 random bytes) if there is none, with its `.pub` beside it.

    An existing file is never overwritten; of several processes that make it at once, all end with the
    same key. Errors as `load_key`.
    """
    if read_secret(path, _KEY_FILE_BYTES) is None:
        made = PrivateKey(seed)
        fresh = made.public.raw.hex()[:16]
        if create_once(path, made.openssh().encode(), fresh):
            line = f"{made.public.line} {comment}".rstrip() + "\n"
            create_once(path.with_name(path.name + ".pub"), line.encode(), fresh, mode=0o644)
    return load_key(path)
