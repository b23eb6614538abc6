#!/usr/bin/env python3
"""Pulls and pushes one model with Ferry and with others, in turn, and prints medians.

    PATH=…/peers:$PATH python tests/benchmarks/pull_push.py [--work pull,push,present] [--size 2G]
        [--layers 1] [--server registry,ferry] [--client ferry,oras,crane] [--runs 3] [--json FILE]
        [--tls own,nginx,nginx-off]

Without `--tls` in plain HTTP; with it by the registry's own TLS, or nginx in front with `proxy_buffering` on
or off; an empty word in its list is plain HTTP. Every row can be run alone. Runs alternate (A B C A B C …),
on a memory-backed directory whose memory was used a moment before (`warm.py`); a push goes to a registry that
was empty a moment before. Peak memory is the largest of the command itself (`wait4`), and, for the server and
ollama's daemon, of the process (`VmHWM`). Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import PULL, PUSH, REPOSITORY, Job, Task, ollama_daemon
from doors import DOORS, door
from load import TAG, Load, fill, make_load
from peers import Registry, cncf_registry, ferry_command, ferry_server

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = str(Path(__file__).with_name("launch.py"))
WARM = str(Path(__file__).with_name("warm.py"))
SPARE = 1 << 30  # bytes of memory a run may want besides what it moves
OURS = ("ferry", "baseline", "loop")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SERVERS = ("registry", "docker-registry", "ferry")


@dataclass
class Row:
    """One program doing one work against one server; seconds and memory of every run."""

    work: str
    server: str
    client: str
    size: int
    tls: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    server_rss_mib: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    failed: str = ""


def size_of(text: str) -> int:
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    return int(text.removesuffix(text[-1:]) if unit else text) * UNITS[unit]


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "VmHWM 0")
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """What a process has used until now, its own and the system's for it."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def server(kind: str, place: Path) -> Iterator[Registry]:
    """A fresh registry below `place`, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=place))
    try:
        with (
            ferry_server(home, program=ferry_command())
            if kind == "ferry"
            else cncf_registry(kind, home) as registry
        ):
            yield registry
    finally:
        shutil.rmtree(home, ignore_errors=True)


def measure(job: Job, row: Row, server: int, scratch: Path) -> None:
    report = scratch / "cost.json"
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    amount = str(min(row.size + SPARE, free // 2))
    subprocess.run([sys.executable, "-I", "-S", WARM, amount], check=True)
    command = [sys.executable, "-I", "-S", LAUNCH, str(report), job.stdout, *map(str, job.command)]
    env = {**os.environ, **job.env}
    used = cpu_seconds(server)
    done = subprocess.run(
        command, env=env, cwd=scratch, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    cost = json.loads(report.read_text()) if report.exists() else {"code": done.returncode}
    if cost["code"]:
        row.failed = f"exit {cost['code']}: {done.stderr.strip()[-300:]}"
        return
    row.seconds.append(cost["seconds"])
    row.cpu.append(cost["user"] + cost["system"])
    daemon = int(job.env.get("DAEMON", "0"))
    row.rss_mib.append(max(cost["rss_kib"] / 1024, peak_mib(daemon) if daemon else 0.0))
    row.server_rss_mib.append(peak_mib(server))
    row.server_cpu.append(cpu_seconds(server) - used)


@contextlib.contextmanager
def scratch_in(place: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="run-", dir=place))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def pull_once(row: Row, load: Load, registry: Registry, place: Path, again: bool) -> None:
    with scratch_in(place) as scratch, contextlib.ExitStack() as stack:
        way = stack.enter_context(door(row.tls, registry, scratch / "door"))
        job = PULL[row.client](Task(load, registry, way, scratch))
        if job is None:
            row.failed = "it does not do this"
            return
        if row.client == "ollama":
            job = Job(job.command, stack.enter_context(ollama_daemon(scratch / "models", scratch)))
        if again:
            measure(job, Row(**{**asdict(row), "seconds": []}), way.pid, scratch)
        measure(job, row, way.pid, scratch)


def push_once(row: Row, load: Load, place: Path) -> None:
    with server(row.server, place) as registry, scratch_in(place) as scratch, contextlib.ExitStack() as stack:
        way = stack.enter_context(door(row.tls, registry, scratch / "door"))
        job = PUSH[row.client](Task(load, registry, way, scratch))
        if job is None:
            row.failed = "it does not do this"
            return
        if row.client == "ollama":
            models = load.home / ".ollama" / "models"
            name = models / "manifests" / registry.host / REPOSITORY / TAG
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(load.manifest)
            job = Job(job.command, stack.enter_context(ollama_daemon(models, scratch)))
        measure(job, row, way.pid, scratch)


def run(options: argparse.Namespace, place: Path) -> list[Row]:
    load = make_load(place, options.layers, options.size)
    rows = []
    for kind in options.server:
        for work in options.work:
            table = PUSH if work == "push" else PULL
            here = [name for name in options.client if name in table]
            these = [Row(work, kind, name, load.size, tls) for tls in options.tls for name in here]
            rows += these
            with contextlib.ExitStack() as stack:
                registry = None
                if work != "push":
                    registry = stack.enter_context(server(kind, place))
                    fill(registry, load, REPOSITORY)
                for number in range(options.runs):
                    for row in these:
                        if row.failed:
                            continue
                        print(
                            work, kind, row.tls, row.client, f"{number + 1}/{options.runs}", file=sys.stderr
                        )
                        if registry:
                            pull_once(row, load, registry, place, work == "present")
                        else:
                            push_once(row, load, place)
    return rows


def table(rows: Sequence[Row]) -> str:
    head = f"{'work':8} {'server':16} {'tls':10} {'client':9} {'median s':>9} {'min':>7} {'MiB/s':>7}"
    head += f" {'cpu s':>6} {'peak MiB':>9} {'server cpu s':>12} {'server MiB':>10}"
    lines = [head, "-" * len(head)]
    for row in rows:
        start = f"{row.work:8} {row.server:16} {row.tls:10} {row.client:9}"
        if not row.seconds:
            lines.append(f"{start} {row.failed}")
            continue
        seconds = statistics.median(row.seconds)
        lines.append(
            f"{start} {seconds:9.2f} {min(row.seconds):7.2f} {row.size / seconds / 2**20:7.0f}"
            f" {statistics.median(row.cpu):6.2f} {max(row.rss_mib):9.0f}"
            f" {statistics.median(row.server_cpu):12.2f} {max(row.server_rss_mib):10.0f}"
        )
    return "\n".join(lines)


def prepare() -> None:
    """No setting of this shell's counts, and Ferry is compiled, as pip leaves it where it installs it."""
    for name in [name for name in os.environ if name.startswith(("FERRY_", "OLLAMA_", "XDG_", "DOCKER_"))]:
        del os.environ[name]
    for package in ("registry", "cli"):
        subprocess.run([sys.executable, "-m", "compileall", "-q", ROOT / package], check=True)


def main() -> None:
    def listed(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=listed, default=["pull", "push"], help="pull, push, present")
    parser.add_argument("--server", type=listed, default=["registry"], help=", ".join(SERVERS))
    parser.add_argument("--client", type=listed, default=list(PULL), help=", ".join(PULL))
    parser.add_argument("--tls", type=listed, default=[""], help=", ".join(DOORS[1:]))
    parser.add_argument("--size", type=size_of, default=size_of("2G"), help="bytes of each layer (K, M, G)")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    parser.add_argument("--json", type=Path, help="write every figure there too")
    options = parser.parse_args()
    wanted = [name for name in options.client if name in OURS or shutil.which(name)]
    for name in set(options.client) - set(wanted):
        print(f"without {name}: it is not on the PATH", file=sys.stderr)
    options.client = wanted
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = Path(tempfile.mkdtemp(prefix="ferry-bench-", dir=options.place))
    try:
        rows = run(options, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    machine = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    print(f"{options.layers} x {options.size} bytes, {options.runs} runs, {machine}")
    print(table(rows))
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1)
        )


if __name__ == "__main__":
    main()
