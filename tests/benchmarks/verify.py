#!/usr/bin/env python3
"""What `ferry verify` costs beside the bare hash, and what mending one byte moves and writes.

    python tests/benchmarks/verify.py [--size 4G] [--blobs N] [--runs 5] [--place /var/tmp]

`hash`: the machine's SHA-256 rate: a process for each processor hashes its share of the same bytes, which it
has read into memory before the clock starts. `files`: as many read the files and hash, in plain Python.
`first`: a store in which no sums are kept yet, as after a stock Ollama; `again`: with sums; `start`: a store
with nothing in it, which is what starting costs. They alternate and medians are printed, with the processor
seconds, whose ratios hold on a busy machine too. Then one bit is flipped in a blob of the whole size, and
mended from a registry beside: what came from there, and what the process wrote (`wchar` of /proc/PID/io: what
is written to a filesystem in memory counts there too). Nothing here fails a test run.
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

from peers import ferry_command, ferry_server

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PROCESSORS = len(os.sched_getaffinity(0))
BLOBS = 4 * PROCESSORS  # one is hashed by one processor: as many for each, so that all have done at once
HASH = """
import hashlib, sys, time
held = [open(path, "rb").read() for path in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
wall, used = time.monotonic(), time.process_time()
for each in held:
    seen, view = hashlib.sha256(), memoryview(each)
    for at in range(0, len(view), 1 << 20):
        seen.update(view[at : at + (1 << 20)])
print(time.monotonic() - wall, time.process_time() - used)
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
        file.flush()
        os.fsync(file.fileno())  # or the first to sync it, and none of the others, would write it to the disk
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
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it is measured compiled, as pip leaves it
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


def in_memory(shares: list[list[str]]) -> tuple[float, float]:
    """Wall and processor seconds of the hashing alone; all begin together."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HASH, *share], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()  # its share is in memory
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    told = [process.stdout.read().split() for process in started if process.stdout is not None]
    if any(process.wait() for process in started):
        raise SystemExit("a baseline failed")
    return max(float(wall) for wall, _ in told), sum(float(used) for _, used in told)


def from_files(shares: list[list[str]]) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", FILES, *share]) for share in shares]
    if any(process.wait() for process in processes):
        raise SystemExit("a baseline failed")


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of what it starts."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    act()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


Medians = dict[str, tuple[float, float]]


def verify(place: Path, size: int, blobs: int, runs: int) -> Medians:
    """Medians of wall and processor seconds, by work."""
    models, empty = place / "models", place / "empty"
    files = write_model(models, "registry.ollama.ai/library/load/latest", [size // blobs] * blobs)
    write_model(empty, "registry.ollama.ai/library/load/latest", [1])
    shares = [[str(path) for path in files[number::PROCESSORS]] for number in range(PROCESSORS)]
    works: dict[str, Callable[[], tuple[float, float]]] = {
        "hash": lambda: in_memory(shares),
        "files": lambda: timed(lambda: from_files(shares)),
        "start": lambda: timed(lambda: ferry(empty, "verify")),
        "first": lambda: timed(lambda: ferry(models, "verify")),
        "again": lambda: timed(lambda: ferry(models, "verify")),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(runs):
        for name, act in works.items():
            if name == "first":
                shutil.rmtree(models / ".ferry" / "sums", ignore_errors=True)
            took[name].append(act())
    shutil.rmtree(models)
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.median(used for _, used in times))
        for name, times in took.items()
    }


def table(medians: Medians, size: int) -> None:
    print("          wall s   GiB/s  of hash  of files    cpu s  of hash  of files")
    for name, (wall, cpu) in medians.items():
        walls, cpus = ([medians[bare][kind] for bare in ("hash", "files")] for kind in (0, 1))
        rates = " ".join(f"{bare / wall:8.2f}" for bare in walls)
        used = " ".join(f"{bare / cpu:8.2f}" for bare in cpus)
        print(f"{name:8} {wall:7.2f} {size / wall / (1 << 30):7.2f} {rates} {cpu:8.2f} {used}")


COUNTED = """
import runpy, sys
sys.argv[0] = "ferry"
try:
    runpy.run_module("cli", run_name="__main__")
finally:
    counts = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    print(counts["wchar"], file=sys.stderr)
"""


def repair(place: Path, size: int) -> tuple[str, float]:
    """What is said of it at the end, and the MiB that were written."""
    models = place / "models"
    with ferry_server(place / "registry", program=ferry_command()) as registry:
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
        return done.stdout.strip().splitlines()[-1], int(done.stderr.split()[-1]) / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description="What ferry verify costs, and what a repair moves.")
    parser.add_argument("--size", type=size_of, default="4G", help="bytes in all [4G]")
    parser.add_argument("--blobs", type=int, default=BLOBS, help="blobs of the model [4 a processor]")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--place", type=Path, default=Path("/var/tmp"))
    told = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="ferry-verify-", dir=told.place))
    try:
        table(verify(place, told.size, told.blobs, told.runs), told.size)
        said, written = repair(place, told.size)
        print(f"\none bit in {told.size / (1 << 30):.1f} GiB: {said}\nwritten: {written:.1f} MiB")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
