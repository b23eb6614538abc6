"""Genuine GGUF models of any size: Gaussian weights in F16, BF16 or Q8_0, and a real tokenizer table.

Ollama runs them: they answer with words, and the same ones to the same seed.

Written with the `gguf` package, tensor after tensor, so that a model may be larger than the memory. By hand:

    python tests/models.py weights.gguf --size 2G --type Q8_0
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import gguf
import numpy as np

TYPES = {
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "BF16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
KiB = 1024
MiB = 1024 * KiB
UNITS = {"": 1, "K": KiB, "M": MiB, "G": 1024 * MiB}
WORDS = "the of and to in is that it for was on are as with his they at be this have ferry carries every byte"


def write(path: Path, size: int, kind: str = "F16", seed: int = 1) -> None:
    """Write a llama model of about `size` bytes, at least 64 KiB; the same bytes for the same arguments."""
    weights, file_type = TYPES[kind]
    block, block_bytes = gguf.GGML_QUANT_SIZES[weights]
    tokens, scores, kinds = vocabulary()
    width = 64 if size < 16 * MiB else 1024
    row = width // block * block_bytes
    blocks = max(1, round((size - len(tokens) * (row + 30)) / (10 * width * row)))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"Ferry test model, {size} bytes")
    writer.add_license("CC0-1.0")
    writer.add_file_type(file_type)
    writer.add_block_count(blocks)
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    shapes = {"token_embd.weight": (len(tokens), width)}
    for number in range(blocks):
        shapes |= {f"blk.{number}.attn_{part}.weight": (width, width) for part in ("q", "k", "v", "output")}
        shapes |= {f"blk.{number}.ffn_{part}.weight": (2 * width, width) for part in ("gate", "up")}
        shapes[f"blk.{number}.ffn_down.weight"] = (width, 2 * width)
    for name, (rows, columns) in shapes.items():
        stored = (rows, columns // block * block_bytes) if weights != gguf.GGMLQuantizationType.F16 else None
        writer.add_tensor_info(
            name,
            stored or (rows, columns),
            np.dtype(np.uint8 if stored else np.float16),
            rows * columns // block * block_bytes,
            raw_dtype=weights if stored else None,
        )
    norms = [f"blk.{number}.{part}_norm.weight" for number in range(blocks) for part in ("attn", "ffn")]
    for name in (*norms, "output_norm.weight"):
        writer.add_tensor_info(name, (width,), np.dtype(np.float32), 4 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(seed)
    for rows, columns in shapes.values():
        numbers = random.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02)
        writer.write_tensor_data(gguf.quantize(numbers, weights))
    for _ in (*norms, "output_norm.weight"):
        writer.write_tensor_data(np.ones(width, dtype=np.float32))
    writer.close()


def vocabulary() -> tuple[list[str], list[float], list[gguf.TokenType]]:
    """Control tokens, every byte, and a few words."""
    words = WORDS.split()
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(words)
    tokens += [f"▁{word}" for word in words]
    return tokens, [-float(index) for index in range(len(tokens))], kinds


def bytes_of(text: str) -> int:
    """`2G`, `64M`, `300K` or plain bytes."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 2G")
    return int(found[1]) * UNITS[found[2]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a genuine GGUF model of about any size.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=bytes_of, default="300K", help="about this many bytes [300K]")
    parser.add_argument("--type", choices=TYPES, default="F16")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    write(told.path, told.size, told.type, told.seed)


if __name__ == "__main__":
    main()
