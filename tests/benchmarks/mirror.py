#!/usr/bin/env python3
"""Mirrors many models with Ferry and with others, in turn, and prints medians.

    PATH=…/peers:$PATH python tests/benchmarks/mirror.py [--work models,inside,unchanged,scale] [--size 2G]
        [--models 20] [--tags 1000] [--runs 3] [--client ferry,oras,regctl,regsync] [--json FILE]
        [--source docker-registry] [--destination docker-registry] [--round-trip 0]

`models`: so many models of `--size` in all, to a registry that was empty a moment before. `inside`: to
another namespace of the same registry. `unchanged`: so many tags that are the same at both, `--round-trip`
milliseconds away; `heads` beside them is no more than one HEAD a tag at each of the two, without any client
around it. `scale`: what a model costs where there are 10, and where there are as many as `--tags`.
`moved` is what the destination holds afterwards, as a multiple of the blobs. regsync is not among the
programs that tests/run builds: `go install github.com/regclient/regclient/cmd/regsync@v0.11.5`.
Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faultplan import Link
from faultproxy import FaultProxy
from goods import Model, put
from peers import Registry, cncf_registry, ferry_command, ferry_server

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name

LAUNCH = str(Path(__file__).with_name("launch.py"))
HEADS = str(Path(__file__).with_name("heads.py"))
THREADS = "8"  # of heads.py: as many names as Ferry compares side by side
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SMALL = 2000  # bytes of a model where only their number counts
RUN_SECONDS = 1200


@dataclass
class Row:
    """One program doing one work; seconds, processor seconds and memory of every run."""

    work: str
    client: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    moved: float = 0.0
    failed: str = ""


def size_of(text: str) -> int:
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    return int(text.removesuffix(text[-1:]) if unit else text) * UNITS[unit]


@contextlib.contextmanager
def server(kind: str, place: Path) -> Iterator[Registry]:
    """A fresh registry below `place`, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=place))
    try:
        with ferry_server(home) if kind == "ferry" else cncf_registry(kind, home) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def distant(registry: Registry, round_trip: float) -> Iterator[str]:
    """Where a registry is asked that is so many milliseconds away."""
    if not round_trip:
        yield registry.host
        return
    with FaultProxy(link=Link(latency=round_trip / 1000)) as proxy:
        proxy.upstream = ("127.0.0.1", int(registry.host.rpartition(":")[2]))
        yield f"127.0.0.1:{proxy.port}"


def fill(registry: Registry, names: list[str], size: int) -> None:
    """A model of `size` bytes under each name, `REPOSITORY:TAG`."""
    connections = Registries(lambda _: HostSettings(), Credentials())
    try:
        for number, text in enumerate(names):
            name = Name.parse(f"{registry.host}/{text}")
            put(connections.remote(name), name, Model.random(number, size))
    finally:
        connections.close()


def held(registry: Registry) -> int:
    """The bytes of blobs that a registry keeps."""
    return sum(path.stat().st_size for path in registry.data.rglob("*") if path.is_file())


def command(client: str, source: str, destination: str, names: list[str], scratch: Path) -> list[str]:
    """What mirrors `names` from one host and namespace to another."""
    pairs = [(f"{source}/{name}", f"{destination}/{name}") for name in names]
    match client:
        case "ferry":
            repositories = sorted({name.rpartition(":")[0] for name in names})
            sync = scratch / "sync.toml"
            sync.write_text(
                "".join(
                    f'[[mirror]]\nsource = "{source}/{each}"\ndestination = "{destination}/{each}"\n'
                    for each in repositories
                )
            )
            return [*ferry_command(), "mirror", "--file", str(sync), "--quiet"]
        case "oras":
            lines = [f"oras cp --no-tty --from-plain-http --to-plain-http {a} {b}" for a, b in pairs]
        case "regctl":
            hosts = {a.partition("/")[0] for pair in pairs for a in pair}
            lines = [f"regctl registry set --tls disabled {host}" for host in hosts]
            lines += [f"regctl image copy {a} {b}" for a, b in pairs]
        case "regsync":
            return ["regsync", "once", "-c", str(regsync_file(pairs, scratch))]
        case "heads":
            file = scratch / "names"
            file.write_text("\n".join(names))
            return [sys.executable, "-I", "-S", HEADS, THREADS, str(file), source, destination]
        case _:
            raise ValueError(client)
    script = scratch / "script"
    script.write_text("set -e\n" + "\n".join(lines) + "\n")
    return ["sh", str(script)]


def regsync_file(pairs: list[tuple[str, str]], scratch: Path) -> Path:
    """The same for regsync: whole repositories."""
    repositories = sorted({(a.rpartition(":")[0], b.rpartition(":")[0]) for a, b in pairs})
    hosts = sorted({a.partition("/")[0] for pair in repositories for a in pair})
    made = {
        "version": 1,
        "creds": [{"registry": host, "tls": "disabled"} for host in hosts],
        "defaults": {"parallel": 4},
        "sync": [{"source": a, "target": b, "type": "repository"} for a, b in repositories],
    }
    path = scratch / "regsync.yml"
    path.write_text(json.dumps(made))  # JSON is YAML
    return path


def as_installed(env: dict[str, str], bytecode: Path) -> dict[str, str]:
    """`env` with Ferry's modules compiled, as pip leaves them, also where Python is told not to."""
    made = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    made["PYTHONPYCACHEPREFIX"] = str(bytecode)
    if not bytecode.exists():
        warm = "import cli.main, cli.mirror_run, cli.commands.mirror, registry.connect, registry.net.http"
        subprocess.run([sys.executable, "-c", warm], env=made, check=True, timeout=RUN_SECONDS)
    return made


def measure(row: Row, words: list[str], scratch: Path) -> None:
    report, said = scratch / "report", scratch / "said"
    env = as_installed({**os.environ, "HOME": str(scratch)}, scratch.parent / "bytecode")
    launch = [sys.executable, "-I", "-S", LAUNCH, str(report), str(said), *words]
    done = subprocess.run(launch, env=env, capture_output=True, timeout=RUN_SECONDS)
    told = json.loads(report.read_text()) if report.exists() else {"code": done.returncode}
    if told["code"]:
        row.failed = f"{shlex.join(words)[:60]}: {told['code']}: {done.stderr.decode()[-300:]}"
        return
    row.seconds.append(told["seconds"])
    row.cpu.append(told["user"] + told["system"])
    row.rss_mib.append(told["rss_kib"] / 1024)


@dataclass
class Bench:
    """What was asked for."""

    options: argparse.Namespace
    place: Path
    rows: list[Row] = field(default_factory=list)

    def row(self, work: str, client: str) -> Row:
        found = next((row for row in self.rows if (row.work, row.client) == (work, client)), None)
        if found is None:
            found = Row(work, client)
            self.rows.append(found)
        return found

    def models(self, inside: bool = False) -> None:
        count, size = self.options.models, size_of(self.options.size)
        names = [f"bench/m{number}:v1" for number in range(count)]
        with server(self.options.source, self.place) as source:
            fill(source, names, size // count)
            before = held(source)
            for _ in range(self.options.runs):
                for client in self.options.client:
                    self._move(source, client, names, before, inside)

    def _move(self, source: Registry, client: str, names: list[str], before: int, inside: bool) -> None:
        row = self.row("inside" if inside else "models", client)
        scratch = Path(tempfile.mkdtemp(dir=self.place))
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, scratch, ignore_errors=True)
            if inside:
                now, to = held(source), f"{source.host}/copy-{random.randrange(10**9)}"
                measure(row, command(client, source.host, to, names, scratch), scratch)
                row.moved = (held(source) - now) / before
            else:
                there = undo.enter_context(server(self.options.destination, self.place))
                measure(row, command(client, source.host, there.host, names, scratch), scratch)
                row.moved = held(there) / before

    def unchanged(self) -> None:
        names = [f"bench/many:v{number}" for number in range(self.options.tags)]
        clients = [each for each in self.options.client if each in ("ferry", "regsync")] + ["heads"]
        with (
            server(self.options.source, self.place) as source,
            server(self.options.destination, self.place) as there,
            distant(source, self.options.round_trip) as source_host,
            distant(there, self.options.round_trip) as there_host,
        ):
            fill(source, names, SMALL)
            for run in range(self.options.runs + 1):
                for client in clients if run else clients[:1]:
                    row = self.row("unchanged", client) if run else Row("first", client)
                    scratch = Path(tempfile.mkdtemp(dir=self.place))
                    measure(row, command(client, source_host, there_host, names, scratch), scratch)
                    shutil.rmtree(scratch)

    def scale(self) -> None:
        for count in (10, self.options.tags):
            names = [f"bench/m{number}:v1" for number in range(count)]
            with server(self.options.source, self.place) as source:
                fill(source, names, SMALL)
                for _ in range(self.options.runs):
                    with server(self.options.destination, self.place) as there:
                        row = self.row(f"{count} models", "ferry")
                        scratch = Path(tempfile.mkdtemp(dir=self.place))
                        measure(row, command("ferry", source.host, there.host, names, scratch), scratch)


def show(rows: list[Row]) -> None:
    print(f"{'work':<14} {'client':<9} {'seconds':>9} {'cpu':>8} {'MiB':>6} {'moved':>6}")
    for row in rows:
        if row.failed or not row.seconds:
            print(f"{row.work:<14} {row.client:<9} failed: {row.failed}")
            continue
        seconds, cpu = statistics.median(row.seconds), statistics.median(row.cpu)
        print(
            f"{row.work:<14} {row.client:<9} {seconds:>9.2f} {cpu:>8.2f} {max(row.rss_mib):>6.0f}"
            f" {row.moved:>6.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default="models,inside,unchanged,scale", type=lambda text: text.split(","))
    parser.add_argument("--client", default="ferry,oras,regctl,regsync", type=lambda text: text.split(","))
    parser.add_argument("--size", default="2G")
    parser.add_argument("--models", default=20, type=int)
    parser.add_argument("--tags", default=1000, type=int)
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--source", default="docker-registry")
    parser.add_argument("--destination", default="docker-registry")
    parser.add_argument("--place", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    parser.add_argument("--round-trip", default=0.0, type=float)
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        bench = Bench(options, Path(place))
        works = {
            "models": bench.models,
            "inside": lambda: bench.models(inside=True),
            "unchanged": bench.unchanged,
            "scale": bench.scale,
        }
        for work in options.work:
            works[work]()
        show(bench.rows)
        if options.json:
            Path(options.json).write_text(json.dumps([asdict(row) for row in bench.rows], indent=2))


if __name__ == "__main__":
    main()
