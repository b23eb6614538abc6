#!/usr/bin/env python3
"""Mirrors many models with Ferry and with others, in turn, and prints medians.

    PATH=…/peers:$PATH python tests/benchmarks/mirror.py [--work models,inside,unchanged,scale] [--size 2G]
        [--models 20] [--tags 1000] [--runs 3] [--client ferry,oras,regctl,regsync] [--json FILE]
        [--source registry] [--destination registry] [--round-trip 0] [--tls ,own]

`models`: so many models of `--size` in all, to a registry that was empty a moment before. `inside`: to
another namespace of the same registry. `unchanged`: so many tags that are the same at both, `--round-trip`
milliseconds away; `heads` beside them is no more than one HEAD a tag at each of the two, without any client
around it. `scale`: what a model costs where there are 10, half as many as `--tags`, and all. `--tls own`:
over the TLS that registry v3 speaks itself, at both ends. `moved` is what the destination holds afterwards,
as a multiple of the blobs; `asked` the requests in the log of the registry that was asked more. regsync is
not among the programs that tests/run builds: `go install github.com/regclient/regclient/cmd/regsync@v0.11.5`.
Nothing here fails a test run; many.py beside this says what of it is as it should be.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from certificates import write_certificate
from doors import Door, door
from faultplan import Link
from faultproxy import FaultProxy
from peers import Registry, cncf_registry, ferry_command, ferry_server
from sample_models import Model, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name

LAUNCH = str(Path(__file__).with_name("launch.py"))
HEADS = str(Path(__file__).with_name("heads.py"))
THREADS = 8  # of heads.py, and of who fills a registry: as many names as Ferry compares side by side
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SMALL = 2000  # bytes of a model where only their number counts
RUN_SECONDS = 1200


@dataclass
class Row:
    """One program doing one work; seconds, processor seconds and memory of every run."""

    work: str
    client: str
    tls: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    moved: float = 0.0
    asked: int = 0
    failed: str = ""

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def used(self) -> float:
        """The median of the processor seconds."""
        return statistics.median(self.cpu)


def size_of(text: str) -> int:
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    return int(text.removesuffix(text[-1:]) if unit else text) * UNITS[unit]


@contextlib.contextmanager
def server(kind: str, place: Path) -> Iterator[Registry]:
    """A fresh registry below `place`, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=place))
    try:
        with (
            ferry_server(home, program=ferry_command())
            if kind == "ferry"
            else cncf_registry(kind, home) as running
        ):
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def reached(registry: Registry, tls: str, round_trip: float, place: Path) -> Iterator[Door]:
    """How a registry is asked, maybe from so many milliseconds away."""
    files, proofs = Path(tempfile.mkdtemp(dir=place)), place / "certificate"
    if tls and not proofs.exists():  # one for both ends: some clients take one file of authorities
        proofs.mkdir()
        write_certificate(proofs)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, files, ignore_errors=True)
        if tls:
            shutil.copytree(proofs, files, dirs_exist_ok=True)
        found = undo.enter_context(door(tls, registry, files))
        if round_trip:
            proxy = undo.enter_context(FaultProxy(link=Link(latency=round_trip / 1000)))
            proxy.upstream = ("127.0.0.1", int(found.host.rpartition(":")[2]))
            found = Door(f"127.0.0.1:{proxy.port}", found.ca, found.log)
        yield found


def fill(registry: Registry, names: list[str], size: int) -> None:
    """A model of `size` bytes under each name, `REPOSITORY:TAG`."""
    connections = Registries(lambda _: HostSettings(), Credentials())

    def one(number: int, text: str) -> None:
        name = Name.parse(f"{registry.host}/{text}")
        put(connections.remote(name), name, Model.random(number, size))

    try:
        one(0, names[0])  # what all have in common is there from now on
        with ThreadPoolExecutor(THREADS if size < UNITS["M"] else 1) as pool:
            list(pool.map(one, range(1, len(names)), names[1:]))
    finally:
        connections.close()


def held(registry: Registry) -> int:
    """The bytes of blobs that a registry keeps."""
    return sum(path.stat().st_size for path in registry.data.rglob("*") if path.is_file())


def command(
    client: str, source: str, destination: str, names: list[str], scratch: Path, tls: bool = False
) -> list[str]:
    """What mirrors `names` from one host and namespace to another."""
    pairs = [(f"{source}/{name}", f"{destination}/{name}") for name in names]
    match client:
        case "ferry":
            repositories = sorted({name.rpartition(":")[0] for name in names})
            sync, scheme = scratch / "sync.toml", "https://" if tls else ""
            sync.write_text(
                "".join(
                    f'[[mirror]]\nsource = "{scheme}{source}/{each}"\n'
                    f'destination = "{scheme}{destination}/{each}"\n'
                    for each in repositories
                )
            )
            return [*ferry_command(), "mirror", "--file", str(sync), "--quiet"]
        case "oras":
            plain = "" if tls else "--from-plain-http --to-plain-http"
            lines = [f"oras cp --no-tty {plain} {a} {b}" for a, b in pairs]
        case "regctl":
            hosts = {a.partition("/")[0] for pair in pairs for a in pair}
            lines = [] if tls else [f"regctl registry set --tls disabled {host}" for host in hosts]
            lines += [f"regctl image copy {a} {b}" for a, b in pairs]
        case "regsync":
            return ["regsync", "once", "-c", str(regsync_file(pairs, scratch, tls))]
        case "heads":
            file = scratch / "names"
            file.write_text("\n".join(names))
            return [sys.executable, "-I", "-S", HEADS, str(THREADS), str(file), source, destination]
        case _:
            raise ValueError(client)
    script = scratch / "script"
    script.write_text("set -e\n" + "\n".join(lines) + "\n")
    return ["sh", str(script)]


def regsync_file(pairs: list[tuple[str, str]], scratch: Path, tls: bool) -> Path:
    """The same for regsync: whole repositories."""
    repositories = sorted({(a.rpartition(":")[0], b.rpartition(":")[0]) for a, b in pairs})
    hosts = sorted({a.partition("/")[0] for pair in repositories for a in pair})
    made = {
        "version": 1,
        "creds": [{"registry": host, "tls": "enabled" if tls else "disabled"} for host in hosts],
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


def requests(found: Door) -> int:
    """How many a registry has written down."""
    if found.log is None:
        return 0
    return sum('HTTP/1.1" ' in line or 'HTTP/2.0" ' in line for line in found.log.read_text().splitlines())


def measure(row: Row, words: list[str], scratch: Path, *doors: Door) -> None:
    report, said = scratch / "report", scratch / "said"
    env = as_installed({**os.environ, "HOME": str(scratch)}, scratch.parent / "bytecode")
    env.pop("SSL_CERT_FILE", None)
    for authority in {str(each.ca) for each in doors if each.ca}:
        env["SSL_CERT_FILE"] = env["FERRY_TLS_CA"] = authority
    before = [requests(each) for each in doors]
    launch = [sys.executable, "-I", "-S", LAUNCH, str(report), str(said), *words]
    done = subprocess.run(launch, env=env, capture_output=True, timeout=RUN_SECONDS)
    told = json.loads(report.read_text()) if report.exists() else {"code": done.returncode}
    if told["code"]:
        row.failed = f"{shlex.join(words)[:60]}: {told['code']}: {done.stderr.decode()[-300:]}"
        return
    row.seconds.append(told["seconds"])
    row.cpu.append(told["user"] + told["system"])
    row.rss_mib.append(told["rss_kib"] / 1024)
    row.asked = max((requests(each) - known for each, known in zip(doors, before, strict=True)), default=0)


@dataclass
class Bench:
    """What was asked for."""

    options: argparse.Namespace
    place: Path
    rows: list[Row] = field(default_factory=list)

    def row(self, work: str, client: str, tls: str = "") -> Row:
        wanted = (work, client, tls)
        found = next((row for row in self.rows if (row.work, row.client, row.tls) == wanted), None)
        if found is None:
            found = Row(work, client, tls)
            self.rows.append(found)
        return found

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        made = Path(tempfile.mkdtemp(dir=self.place))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def models(self, inside: bool = False) -> None:
        count, size = self.options.models, size_of(self.options.size)
        names = [f"bench/m{number}:v1" for number in range(count)]
        with server(self.options.source, self.place) as source:
            fill(source, names, size // count)
            before = held(source)
            for _ in range(1 if inside else self.options.runs):
                for tls in self.options.tls:
                    with reached(source, tls, 0, self.place) as found:
                        for client in self.options.client:
                            act = self._inside if inside else self._move
                            act(source, found, client, names, before, tls)

    def _move(self, _: Registry, source: Door, client: str, names: list[str], before: int, tls: str) -> None:
        row = self.row("models", client, tls)
        with (
            self.scratch() as scratch,
            server(self.options.destination, self.place) as there,
            reached(there, tls, 0, self.place) as to,
        ):
            words = command(client, source.host, to.host, names, scratch, bool(tls))
            measure(row, words, scratch, source, to)
            row.moved = held(there) / before

    def _inside(
        self, source: Registry, found: Door, client: str, names: list[str], before: int, tls: str
    ) -> None:
        row, now = self.row("inside", client, tls), held(source)
        to = f"{found.host}/copy-{random.randrange(10**9)}"
        with self.scratch() as scratch:
            measure(row, command(client, found.host, to, names, scratch, bool(tls)), scratch, found)
        row.moved = (held(source) - now) / before

    def unchanged(self) -> None:
        names = [f"bench/many:v{number}" for number in range(self.options.tags)]
        clients = [each for each in self.options.client if each in ("ferry", "regsync")] + ["heads"]
        with (
            server(self.options.source, self.place) as source,
            server(self.options.destination, self.place) as there,
        ):
            for each in (source, there):
                fill(each, names, SMALL)
            ways = [(self.options.round_trip, tls) for tls in self.options.tls]
            if self.options.away:
                ways.append((self.options.away, ""))
            for away, tls in ways:
                with (
                    reached(source, tls, away, self.place) as one,
                    reached(there, tls, away, self.place) as other,
                ):
                    for _ in range(self.options.runs if away == self.options.round_trip else 1):
                        for client in clients:
                            with self.scratch() as scratch:
                                words = command(client, one.host, other.host, names, scratch, bool(tls))
                                row = self.row(self.unchanged_at(away), client, tls)
                                measure(row, words, scratch, one, other)

    def unchanged_at(self, away: float) -> str:
        """What the rows are called."""
        return "unchanged" if away == self.options.round_trip else f"unchanged {away:.0f} ms"

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of models: what one more costs early is seen between the first two, later between the last two."""
        return 10, self.options.tags // 2, self.options.tags

    def scale(self) -> None:
        names = [f"bench/m{number}:v1" for number in range(self.options.tags)]
        with server(self.options.source, self.place) as source:
            fill(source, names, SMALL)
            for _ in range(self.options.runs):
                for count in self.counts:
                    with server(self.options.destination, self.place) as there, self.scratch() as scratch:
                        words = command("ferry", source.host, there.host, names[:count], scratch)
                        measure(self.row(f"{count} models", "ferry"), words, scratch)


def show(rows: list[Row]) -> None:
    print("work            tls   client    seconds     cpu   MiB  moved  asked")
    for row in rows:
        start = f"{row.work:<15} {row.tls or '-':<5} {row.client:<8}"
        if row.failed or not row.seconds:
            print(f"{start} failed: {row.failed}")
            continue
        print(
            f"{start} {row.median:>8.2f} {row.used:>7.2f} {max(row.rss_mib):>5.0f} {row.moved:>6.2f}"
            f" {row.asked:>6}"
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
    parser.add_argument("--source", default="registry")
    parser.add_argument("--destination", default="registry")
    parser.add_argument("--tls", default=",own", type=lambda text: text.split(","))
    parser.add_argument("--place", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    parser.add_argument("--round-trip", default=0.0, type=float)
    parser.add_argument("--away", default=0.0, type=float, help="milliseconds, for one row more")
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
