"""A manifest is its exact bytes; what is read out of them is checked against limits first.

Reads Docker v2 manifests (as Ollama writes them), OCI image manifests, artifacts and indexes, and
Docker manifest lists. Unknown fields and media types survive, because the bytes do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NoReturn

from registry.errors import InvalidError
from registry.model.digests import Digest

MANIFEST_BYTES = 4 * 1024 * 1024
JSON_DEPTH = 64
MAX_DESCRIPTORS = 50_000
JSON_PIECES = 400_000  # strings and brackets: 4 MiB of `{},{},…` would fill 100 MB of memory
MAX_SIZE = 2**53 - 1  # the largest integer that every JSON reader keeps exact
_INTEGER_DIGITS = 20
# Possessive, and true of a string that never ends too: no text makes it look at a character twice.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OLLAMA = "application/vnd.ollama.image."

# OCI image specification, layer.md "Non-Distributable Layers", and Docker's foreign layers.
_NON_DISTRIBUTABLE = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)


class Kind(Enum):
    """What a manifest's descriptors are: parts of one image, or other manifests."""

    IMAGE = "image"
    INDEX = "index"


INDEXES = (DOCKER_INDEX, OCI_INDEX)
_KINDS = {
    DOCKER_MANIFEST: Kind.IMAGE,
    OCI_MANIFEST: Kind.IMAGE,
    OCI_ARTIFACT: Kind.IMAGE,
    DOCKER_INDEX: Kind.INDEX,
    OCI_INDEX: Kind.INDEX,
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of one blob or child manifest: `size` in bytes, `fields` as they came."""

    media_type: str
    digest: Digest
    size: int
    fields: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise InvalidError(f"size: {self.size} is not between 0 and {MAX_SIZE}")

    @classmethod
    def parse(cls, value: object, where: str) -> Descriptor:
        """The descriptor in a decoded JSON value; InvalidError names the bad field below `where`."""
        if not isinstance(value, dict):
            _refuse(where, "is not an object")
        media_type = value.get("mediaType", "")
        if not isinstance(media_type, str) or len(media_type) > 255:
            _refuse(f"{where}.mediaType", "is not a media type")
        size = value.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            _refuse(f"{where}.size", f"is not a whole number between 0 and {MAX_SIZE}")
        try:
            digest = Digest.parse(value.get("digest", ""))
        except InvalidError as error:
            _refuse(f"{where}.digest", error.message)
        return cls(media_type, digest, size, value)

    @property
    def distributable(self) -> bool:
        """False for layers that a registry may not hold; nothing moves or misses them."""
        return not self.media_type.startswith(_NON_DISTRIBUTABLE)

    @property
    def is_manifest(self) -> bool:
        """Whether its media type is a manifest's: an index may name other things, as a build's cache does."""
        return not self.media_type or self.media_type in _KINDS

    def as_json(self) -> dict[str, object]:
        """The three fields every descriptor has, in the order Ollama writes them."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest: `raw` is kept byte for byte, `digest` is the SHA-256 (or asked-for hash) of it.

    `children` is all that an index names: manifests, and what a registry keeps as blobs.
    """

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    kind: Kind
    config: Descriptor | None
    layers: tuple[Descriptor, ...] = field(repr=False)
    children: tuple[Descriptor, ...] = field(repr=False)
    subject: Descriptor | None
    artifact_type: str
    annotations: Mapping[str, str] = field(repr=False, compare=False)

    @classmethod
    def parse(
        cls, raw: bytes, *, content_type: str = "", digest: Digest | None = None, where: str = "manifest"
    ) -> Manifest:
        """Check and read `raw`.

        `content_type` is what the sender called it: used when the manifest does not say itself, and
        refused when the two differ. With `digest`, the bytes must have it. Raises InvalidError that
        names the bad field. OCI image specification: manifest.md, image-index.md.
        """
        if len(raw) > MANIFEST_BYTES:
            raise InvalidError(f"{where}: {len(raw)} bytes, more than the {MANIFEST_BYTES} allowed")
        algorithm = digest.algorithm if digest else "sha256"
        actual = Digest.of(raw, algorithm)
        if digest is not None and actual != digest:
            raise InvalidError(f"{where}: its bytes hash to {actual}, not to {digest}")
        document = decode_json(raw, where)
        if not isinstance(document, dict):
            _refuse(where, "is not a JSON object")
        version = document.get("schemaVersion")
        if version != 2 or not isinstance(version, int):
            _refuse(f"{where}.schemaVersion", "is not 2")
        media_type, kind = _media_type(document, content_type.partition(";")[0].strip(), where)
        subject = document.get("subject")
        manifest = cls(
            raw=raw,
            digest=actual,
            media_type=media_type,
            kind=kind,
            config=_config(document, where) if kind is Kind.IMAGE else None,
            layers=_layers(document, where) if kind is Kind.IMAGE else (),
            children=_descriptors(document, "manifests", where) if kind is Kind.INDEX else (),
            subject=None if subject is None else Descriptor.parse(subject, f"{where}.subject"),
            artifact_type=_text(document, "artifactType", where),
            annotations=_annotations(document, where),
        )
        _consistent_sizes(manifest, where)
        return manifest

    @property
    def size(self) -> int:
        """The manifest's own size in bytes."""
        return len(self.raw)

    @property
    def total(self) -> int:
        """The sum of its distinct blobs' sizes, in bytes."""
        return sum(blob.size for blob in self.blobs())

    def blobs(self) -> Iterator[Descriptor]:
        """Each distinct blob that must be there: layers in order, then the config; an index may have some."""
        seen: set[Digest] = set()
        for blob in _parts(self):
            if blob.digest not in seen and blob.distributable:
                seen.add(blob.digest)
                yield blob

    @property
    def manifests(self) -> list[Descriptor]:
        """The manifests that an index names."""
        return [child for child in self.children if child.is_manifest]

    def descriptor(self) -> Descriptor:
        """This manifest as another manifest would name it."""
        return Descriptor(self.media_type, self.digest, self.size)

    @property
    def referrer_type(self) -> str:
        """Its own type, else its config's (OCI distribution specification 1.1, "Listing Referrers")."""
        return self.artifact_type or (self.config.media_type if self.config else "")

    def with_or_without_newline(self) -> Digest:
        """Its digest with a newline at its end, or without the one that it has.

        `ollama create` and Ferry write one, and `ollama pull` leaves it out of what it keeps.
        """
        raw = self.raw
        return Digest.of(raw[:-1] if raw.endswith(b"\n") else raw + b"\n", self.digest.algorithm)

    def as_referrer(self) -> Descriptor:
        """The same in a list of what refers to its subject.

        OCI distribution specification 1.1, "Listing Referrers": with its type and its annotations.
        """
        said = {"artifactType": self.referrer_type, "annotations": dict(self.annotations)}
        plain = self.descriptor()
        return replace(
            plain, fields={**plain.as_json(), **{key: value for key, value in said.items() if value}}
        )


def annotated(manifest: Manifest, annotations: Mapping[str, str]) -> Manifest:
    """The same manifest with these annotations too; itself where it has them. InvalidError.

    All else keeps its place, so the same words make the same digest. Ollama reads the fields it knows, and so
    runs it as before. OCI image specification: annotations.md.
    """
    for key, value in annotations.items():
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidError(f"{key[:80]!r} cannot be the key of an annotation")
        if not value.isprintable():
            raise InvalidError(f"the annotation {key} has characters that do not print")
    if annotations.items() <= manifest.annotations.items():
        return manifest
    document = decode_json(manifest.raw, "manifest")
    assert isinstance(document, dict)  # or it were no manifest
    document["annotations"] = {**manifest.annotations, **dict(sorted(annotations.items()))}
    end = b"\n" if manifest.raw.endswith(b"\n") else b""
    raw = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + end
    return Manifest.parse(raw, content_type=manifest.media_type)


def image(
    config: Descriptor, layers: Sequence[Mapping[str, object]], media_type: str = DOCKER_MANIFEST
) -> Manifest:
    """A new image manifest, written as Ollama writes it: compact JSON and one newline."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.as_json(),
        "layers": list(layers),
    }
    return Manifest.parse(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def decode_json(raw: bytes, where: str) -> object:
    """`raw` as JSON values; InvalidError for duplicate keys, depth, NaN, endless numbers, bad Unicode."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{where}: not UTF-8 at byte {error.start}") from None
    _check_shape(text, where)
    try:
        document: object = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_int=_bounded_int,
            parse_constant=_no_constants,
        )
        _check_unicode(text, document)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{where}: not JSON: {str(error)[:200]}") from None
    return document


def _check_shape(text: str, where: str) -> None:
    """Refuse deep nesting before the recursive parser sees it, and more pieces than memory is for."""
    depth = 0
    for count, token in enumerate(_STRING_OR_BRACKET.finditer(text)):
        first = token[0][0]
        if first in "[{":
            depth += 1
        elif first in "]}":
            depth -= 1
        if depth > JSON_DEPTH:
            raise InvalidError(f"{where}: nested deeper than {JSON_DEPTH}")
        if count > JSON_PIECES:
            raise InvalidError(f"{where}: more than {JSON_PIECES} strings and brackets")


def _check_unicode(text: str, document: object) -> None:
    r"""Refuse half of a surrogate pair (`\ud800` alone, RFC 8259 section 8.2): no database takes it."""
    if _SURROGATE.search(text):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidError("half of a surrogate pair is not Unicode") from None


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for key, item in pairs:
        if key in value:
            raise InvalidError(f"key {key[:60]!r} appears twice")
        value[key] = item
    return value


def _bounded_int(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS:
        raise InvalidError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_constants(name: str) -> NoReturn:
    raise InvalidError(f"{name} is not JSON")


def _media_type(document: Mapping[str, object], content_type: str, where: str) -> tuple[str, Kind]:
    declared = document.get("mediaType", "")
    if not isinstance(declared, str):
        _refuse(f"{where}.mediaType", "is not text")
    if declared and content_type in _KINDS and declared != content_type:
        _refuse(f"{where}.mediaType", f"is {declared[:80]!r}, but it was sent as {content_type[:80]!r}")
    media_type = declared or (content_type if content_type in _KINDS else "")
    if not media_type:
        media_type = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    kind = _KINDS.get(media_type)
    if kind is None:
        _refuse(f"{where}.mediaType", f"{media_type[:80]!r} is not a manifest type Ferry knows")
    if "manifests" in document and ("layers" in document or "config" in document):
        _refuse(where, "has both layers and manifests, and could be read as either")
    return media_type, kind


def _config(document: Mapping[str, object], where: str) -> Descriptor | None:
    value = document.get("config")
    if value is None:
        if "blobs" in document:  # the withdrawn OCI artifact manifest has none
            return None
        _refuse(f"{where}.config", "is missing")
    return Descriptor.parse(value, f"{where}.config")


def _layers(document: Mapping[str, object], where: str) -> tuple[Descriptor, ...]:
    return _descriptors(document, "layers" if "blobs" not in document else "blobs", where)


def _descriptors(document: Mapping[str, object], key: str, where: str) -> tuple[Descriptor, ...]:
    value = document.get(key)
    if value is None:  # Ollama writes `null` for cloud models
        return ()
    if not isinstance(value, list):
        _refuse(f"{where}.{key}", "is not a list")
    if len(value) > MAX_DESCRIPTORS:
        _refuse(f"{where}.{key}", f"has {len(value)} entries, more than the {MAX_DESCRIPTORS} allowed")
    return tuple(Descriptor.parse(item, f"{where}.{key}[{index}]") for index, item in enumerate(value))


def _text(document: Mapping[str, object], key: str, where: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(f"{where}.{key}", "is not text")
    return value


def _annotations(document: Mapping[str, object], where: str) -> Mapping[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        _refuse(f"{where}.annotations", "is not an object of texts")
    return value


def _parts(manifest: Manifest) -> Iterator[Descriptor]:
    """What it is made of, in order, and what is no manifest of what an index names."""
    yield from manifest.layers
    yield from (child for child in manifest.children if not child.is_manifest)
    if manifest.config is not None:
        yield manifest.config


def _consistent_sizes(manifest: Manifest, where: str) -> None:
    """One digest has one size: two would make one of them a lie."""
    sizes: dict[Digest, int] = {}
    for blob in _parts(manifest):
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            _refuse(where, f"gives {blob.digest} two different sizes")


def _refuse(where: str, why: str) -> NoReturn:
    raise InvalidError(f"{where}: {why}")
