#!/usr/bin/env python3
"""What `ferry verify` costs beside the bare hash, and what mending one byte moves and writes.

    python tests/benchmarks/verify.py [--size 2G] [--blobs 8] [--runs 5] [--place /dev/shm]

`hash`: the machine's SHA-256 rate, memory that is hashed by a process for each processor. `files`: the same
bytes read from the store's files by as many. `first`: a store in which no sums are kept yet, as after a stock
Ollama; `again`: with sums. They alternate (A B C D A …) and medians are printed, with the processor seconds,
whose ratios hold on a busy machine too. Then one bit is flipped in a blob of the whole size, and mended from
a registry beside: what came from there, and what the process wrote (`wchar` of /proc/PID/io: what is written
to a filesystem in memory counts there too). Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers import ferry_server

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CHUNK = 1 << 20
HASH = """
import hashlib, sys
buffer = bytes(1 << 20)
seen = hashlib.sha256()
for _ in range(int(sys.argv[1]) >> 20):
    seen.update(buffer)
"""
FILES = """
import hashlib, sys
buffer = memoryview(bytearray(1 << 20))
for path in sys.argv[1:]:
    seen = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            seen.update(buffer[:length])
"""


def size_of(text: str) -> int:
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    return int(text.removesuffix(text[-1:]) if unit else text) * UNITS[unit]


def write_blob(models: Path, size: int, seed: int) -> dict[str, object]:
    """A blob of `size` bytes that do not repeat within 64 MiB; its descriptor."""
    block, hasher = os.urandom(64 << 20), hashlib.sha256()
    path = models / "blobs" / f"draft-{seed}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for at in range(0, size, len(block)):
            piece = block[: min(len(block), size - at)]
            hasher.update(piece)
            file.write(piece)
    path.rename(models / "blobs" / f"sha256-{hasher.hexdigest()}")
    kind = "application/vnd.ollama.image.model"
    return {"mediaType": kind, "digest": f"sha256:{hasher.hexdigest()}", "size": size}


def write_model(models: Path, name: str, sizes: list[int]) -> list[Path]:
    """A model of blobs of these sizes; their files."""
    layers = [write_blob(models, size, seed) for seed, size in enumerate(sizes)]
    config = write_blob(models, 2, 10**6)
    config["mediaType"] = "application/vnd.docker.container.image.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config,
        "layers": layers,
    }
    place = models / "manifests" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(document))
    return [models / "blobs" / str(layer["digest"]).replace(":", "-") for layer in layers]


def ferry(models: Path, *words: str) -> str:
    command = [sys.executable, "-m", "cli", *words, "--models", str(models)]
    environ = {**os.environ, "HOME": str(models), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


def side_by_side(program: str, shares: list[list[str]]) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", program, *share]) for share in shares]
    if any(process.wait() for process in processes):
        raise SystemExit("a baseline failed")


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of what it starts."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    act()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verify(place: Path, size: int, blobs: int, runs: int) -> None:
    models, width = place / "models", len(os.sched_getaffinity(0))
    files = write_model(models, "registry.ollama.ai/library/load/latest", [size // blobs] * blobs)
    shares = [[str(path) for path in files[number::width]] for number in range(width)]
    works: dict[str, Callable[[], object]] = {
        "hash": lambda: side_by_side(HASH, [[str(size // width)]] * width),
        "files": lambda: side_by_side(FILES, shares),
        "first": lambda: ferry(models, "verify"),
        "again": lambda: ferry(models, "verify"),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(runs):
        for name, act in works.items():
            if name == "first":
                shutil.rmtree(models / ".ferry" / "sums", ignore_errors=True)
            took[name].append(timed(act))
    medians = {
        name: [statistics.median(each[kind] for each in times) for kind in (0, 1)]
        for name, times in took.items()
    }
    print("          wall s   GiB/s  of hash  of files    cpu s  of hash  of files")
    for name, (wall, cpu) in medians.items():
        walls, cpus = ([medians[bare][kind] for bare in ("hash", "files")] for kind in (0, 1))
        rates = " ".join(f"{bare / wall:8.2f}" for bare in walls)
        used = " ".join(f"{bare / cpu:8.2f}" for bare in cpus)
        print(f"{name:8} {wall:7.2f} {size / wall / (1 << 30):7.2f} {rates} {cpu:8.2f} {used}")
    shutil.rmtree(models)


COUNTED = """
import runpy, sys
sys.argv[0] = "ferry"
try:
    runpy.run_module("cli", run_name="__main__")
finally:
    counts = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    print(counts["wchar"], file=sys.stderr)
"""


def repair(place: Path, size: int) -> None:
    models = place / "models"
    with ferry_server(place / "registry") as registry:
        name = f"{registry.host}/acme/load:1"
        [path] = write_model(models, f"{registry.host}/acme/load/1", [size])
        ferry(models, "push", name)
        ferry(models, "verify")
        with path.open("r+b") as file:
            file.seek(size // 2 + 12345)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
        words = ["verify", "--repair", "--models", str(models), "--progress", "none"]
        done = subprocess.run(
            [sys.executable, "-c", COUNTED, *words],
            env={**os.environ, "HOME": str(models), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        written = int(done.stderr.split()[-1])
        print(f"\none bit in {size / (1 << 30):.1f} GiB: {done.stdout.strip().splitlines()[-1]}")
        print(f"written: {written / (1 << 20):.1f} MiB (exit {done.returncode})")


def main() -> None:
    parser = argparse.ArgumentParser(description="What ferry verify costs, and what a repair moves.")
    parser.add_argument("--size", type=size_of, default="2G", help="bytes in all [2G]")
    parser.add_argument("--blobs", type=int, default=8, help="blobs of the model [8]")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"))
    told = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="ferry-verify-", dir=told.place))
    try:
        verify(place, told.size, told.blobs, told.runs)
        repair(place, told.size)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
