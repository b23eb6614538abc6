"""What the weights of a model say of themselves, wherever they are."""

from __future__ import annotations

from cli import modelfile
from cli.render import Terminal, error_document, visible
from registry.contracts import Source
from registry.errors import RegistryError
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.publish.build import human_number
from registry.publish.gguf import Gguf
from registry.publish.head import read_head


def of(terminal: Terminal, source: Source, name: Name, manifest: Manifest) -> Gguf | RegistryError | None:
    """The head of the weights; None where a model has none of Ollama's kind. Why it cannot be told is noted.

    Of several layers of weights the last one counts, as it does for Ollama.
    """
    layers = [layer for layer in manifest.layers if modelfile.kind(layer.media_type) == "model"]
    if not layers:
        return None
    try:
        return read_head(source, name, layers[-1])
    except RegistryError as error:
        terminal.note(f"ferry: the weights cannot be looked into: {visible(error.message)}")
        error.name = error.name or str(name)
        return error


def document(head: Gguf | RegistryError) -> dict[str, object]:
    """For programs: numbers as they are; or the error."""
    if isinstance(head, RegistryError):
        return error_document(head)
    return {
        "format": "gguf",
        "version": head.version,
        "architecture": head.architecture,
        "parameters": head.elements,
        "quantization": head.quantization,
        "context_length": head.context_length or None,
        "embedding_length": head.embedding_length or None,
        "tensors": len(head.tensors),
    }


def rows(head: Gguf) -> list[tuple[str, str]]:
    """For people: keys and values."""
    tensors = "1 tensor" if len(head.tensors) == 1 else f"{len(head.tensors)} tensors"
    found = [
        ("weights", f"GGUF {head.version}, {tensors}"),
        ("architecture", head.architecture),
        ("parameters", human_number(head.elements)),
        ("quantization", head.quantization),
        ("context length", str(head.context_length or "")),
        ("embedding length", str(head.embedding_length or "")),
    ]
    return [(key, value) for key, value in found if value]
