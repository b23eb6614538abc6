"""A model made from a Modelfile: which layers, in which order, with which bytes.

The result is a source, so `copy` puts it wherever a model can live. Nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.contracts import Reading
from registry.disk import files
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest, new_hasher
from registry.model.manifests import DOCKER_CONFIG, OLLAMA, Descriptor, Manifest, image
from registry.model.names import Name
from registry.model.spans import FileSpan, Span
from registry.publish import formats, gguf, parameters
from registry.publish.gguf import Gguf, GgufKind
from registry.publish.modelfile import Modelfile
from registry.publish.parameters import Parameters

# Architectures that are run by a renderer and parser of Ollama's own: (both, stop unless one is given).
_RENDERED = {
    "gemma4": ("gemma4", "<turn|>"),
    "laguna": ("laguna", ""),
    "nemotron_h": ("nemotron-3-nano", ""),
    "nemotron_h_moe": ("nemotron-3-nano", ""),
    "nemotron_h_omni": ("nemotron-3-nano", ""),
}

_SEMANTIC = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
)
_ONLY_GGUF = "Ferry makes models from GGUF files"
_LATER = {
    GgufKind.ADAPTER: "is an adapter, which needs a model to sit on; adapters are not made yet",
    GgufKind.PROJECTOR: "is a projector, which needs its language model beside it; those are not made yet",
    GgufKind.SHARD: "is one part of a split model; merge the parts first (llama-gguf-split --merge)",
}


@dataclass(frozen=True, slots=True)
class Built:
    """A model that is ready to be copied, its small blobs in memory and its weights where they are."""

    manifest: Manifest
    warnings: tuple[str, ...] = ()
    _small: dict[Digest, bytes] = field(default_factory=dict, repr=False)
    _files: dict[Digest, FileSpan] = field(default_factory=dict, repr=False)

    def resolve(self, name: Name) -> Manifest:
        """The manifest, under whatever name."""
        return self.manifest

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        """Exactly `span`. NotFoundError for a blob that is not of this model."""
        if blob.digest in self._small:
            return Reading(span, _MemoryStream(self._small[blob.digest][span.offset : span.end]))
        if blob.digest in self._files:
            return Reading(
                span, files.read_span(FileSpan(self._files[blob.digest].path, span.offset, span.length))
            )
        raise NotFoundError(f"blob {blob.digest.short} is not of this model")


def build(
    modelfile: Modelfile,
    directory: Path,
    home: Path | None = None,
    hashed: Callable[[int], None] | None = None,
) -> Built:
    """The model that `modelfile` describes; its paths are relative to `directory`, `~` is `home`.

    `hashed` is told how many more bytes of the weights were read. InvalidError for what cannot be made,
    NotFoundError if the weights are not there.
    """
    _refuse_later(modelfile)
    params, warnings = _parameters(modelfile)  # what is wrong with them is said before all is hashed
    path = _weights(modelfile, directory, home)
    head = _head(path)
    digest, size = _hash(path, hashed or (lambda _: None))
    maker = _Maker()
    maker.file("model", digest, FileSpan(path, 0, size))
    renderer, parser, stop = _rendering(modelfile, head)
    maker.text("template", modelfile.last("TEMPLATE"))
    maker.text("system", modelfile.last("SYSTEM"))
    for licence in modelfile.all("LICENSE"):
        maker.layer("license", licence.value.encode())
    if stop and "stop" not in params:
        params["stop"] = [stop]
    if params:
        maker.layer("params", parameters.written(_sorted(params)))
    messages = [{"role": each.about, "content": each.value} for each in modelfile.all("MESSAGE")]
    if messages:
        maker.layer("messages", parameters.written(messages))
    if head.chat_template and not modelfile.last("TEMPLATE"):
        warnings.append(
            "the weights carry a chat template of their own; Ferry adds no TEMPLATE for it: say one if needed"
        )
    config = _config(head, renderer, parser, _requires(modelfile))
    return maker.built(parameters.written(config), tuple(warnings))


class _Maker:
    """Collects layers."""

    def __init__(self) -> None:
        self._layers: list[dict[str, object]] = []
        self._small: dict[Digest, bytes] = {}
        self._files: dict[Digest, FileSpan] = {}

    def file(self, kind: str, digest: Digest, span: FileSpan) -> None:
        """A layer that lies on the disk."""
        self._files[digest] = span
        self._layers.append(Descriptor(f"{OLLAMA}{kind}", digest, span.length).as_json())

    def layer(self, kind: str, data: bytes) -> None:
        """A small layer."""
        self._layers.append(self._keep(f"{OLLAMA}{kind}", data).as_json())

    def text(self, kind: str, text: str) -> None:
        """A small layer, unless there is nothing in it."""
        if text:
            self.layer(kind, text.encode())

    def built(self, config: bytes, warnings: tuple[str, ...]) -> Built:
        """The whole."""
        manifest = image(self._keep(DOCKER_CONFIG, config), self._layers)
        return Built(manifest, warnings, self._small, self._files)

    def _keep(self, media_type: str, data: bytes) -> Descriptor:
        digest = Digest.of(data)
        self._small[digest] = data
        return Descriptor(media_type, digest, len(data))


@dataclass(frozen=True, slots=True)
class _MemoryStream:
    """A stream of bytes in memory."""

    data: bytes

    def __iter__(self) -> Iterator[bytes]:
        return iter((self.data,) if self.data else ())

    def close(self) -> None:
        """Nothing is held."""


def _refuse_later(modelfile: Modelfile) -> None:
    for name in ("ADAPTER", "DRAFT"):
        if modelfile.last(name):
            raise InvalidError(f"{name} cannot be used yet", hint="for now: one GGUF file in FROM")


def _parameters(modelfile: Modelfile) -> tuple[Parameters, list[str]]:
    """What `parameters.parse` makes of them. InvalidError names the line."""
    instructions = modelfile.all("PARAMETER")
    for each in instructions:
        try:
            parameters.parse([(each.about, each.value)])
        except InvalidError as error:
            raise InvalidError(f"Modelfile line {each.line}: {error.message}", hint=error.hint) from None
    return parameters.parse((each.about, each.value) for each in instructions)


def _weights(modelfile: Modelfile, directory: Path, home: Path | None) -> Path:
    """The one GGUF file that FROM names."""
    named = modelfile.all("FROM")
    if not named:
        raise InvalidError("the Modelfile has no FROM", hint="FROM ./weights.gguf names the weights")
    if len(named) > 1:
        raise InvalidError("the Modelfile has several FROM lines; Ferry makes models from one file for now")
    text = named[0].value
    path = home / text[2:] if home is not None and text.startswith("~/") else directory / text
    status = files.status(path.resolve())  # links are followed: in a cache of downloads each file is one
    if status is None:
        raise NotFoundError(
            f"FROM {text[:200]}: there is no such file",
            hint="a path is relative to the Modelfile; FROM with a model's name is not possible yet",
        )
    if status.is_directory:
        known = formats.of_directory(files.names(path.resolve()))
        what, hint = (known.name, known.way) if known else ("a directory", "name the GGUF file in it")
        raise InvalidError(f"FROM {text[:200]}: is {what}", hint=hint)
    if not status.is_file:
        raise InvalidError(
            f"FROM {text[:200]}: is not a file", hint="weights are read more than once: save them to a file"
        )
    return path.resolve()


def _head(path: Path) -> Gguf:
    with files.open_for_reading(path) as file:
        start = file.read(formats.HEAD)
        if not start.startswith(gguf.MAGIC) and (found := formats.told_by(start)) is not None:
            raise InvalidError(f"{path}: it is not a GGUF file but {found.name}", hint=found.way)
        size = file.seek(0, 2)
        file.seek(0)
        try:
            head = gguf.read(file, size)
        except InvalidError as error:
            hint = "copy or convert it again" if start.startswith(gguf.MAGIC) else _ONLY_GGUF
            raise InvalidError(f"{path}: {error.message}", hint=hint) from None
    if head.kind in _LATER:
        raise InvalidError(f"{path}: it {_LATER[head.kind]}")
    return head


def _hash(path: Path, hashed: Callable[[int], None]) -> tuple[Digest, int]:
    hasher = new_hasher("sha256")
    size = 0
    with files.open_for_reading(path) as file:
        while chunk := file.read(files.CHUNK):
            hasher.update(chunk)
            size += len(chunk)
            hashed(len(chunk))
    return Digest("sha256", hasher.hexdigest()), size


def _rendering(modelfile: Modelfile, head: Gguf) -> tuple[str, str, str]:
    """Renderer, parser, and a stop that comes with them."""
    renderer, parser = modelfile.last("RENDERER"), modelfile.last("PARSER")
    if renderer or parser:
        return renderer, parser, ""
    both, stop = _RENDERED.get(head.architecture, ("", ""))
    return both, both, stop


def _requires(modelfile: Modelfile) -> str:
    text = modelfile.last("REQUIRES").removeprefix("v")
    if text and not _SEMANTIC.fullmatch(text):
        raise InvalidError(f"REQUIRES {text[:40]!r} is not a version such as 0.14.0")
    return text


def _config(head: Gguf, renderer: str, parser: str, requires: str) -> dict[str, object]:
    optional = {"renderer": renderer, "parser": parser, "requires": requires}
    return {
        "model_format": "gguf",
        "model_family": head.architecture,
        "model_families": [head.architecture],
        "model_type": human_number(head.elements),
        "file_type": head.quantization,
        **{key: value for key, value in optional.items() if value},
        "architecture": "amd64",
        "os": "linux",
    }


def human_number(count: int) -> str:
    """A number of parameters as Ollama shows it: `22.57M`, `7B`, `1.5B`, `12K`."""
    for unit, size, decimals in (("B", 10**9, 1), ("M", 10**6, 2)):
        if count >= size:
            return f"{count / size:.{0 if count % size == 0 else decimals}f}{unit}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


def _sorted(params: Parameters) -> dict[str, object]:
    return {name: params[name] for name in sorted(params)}
