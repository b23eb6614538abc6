#!/usr/bin/env python3
"""Asks `ferry serve` and registry v3 many small things in turn, and prints medians.

    PATH=…/peers:$PATH python tests/benchmarks/small_requests.py [--work manifest,head,one,blob,token]
        [--by token,key,key-token] [--seconds 10] [--runs 5] [--against TREE] [--only-ferry] [--json FILE]

`wrk` asks, by one thread: 32 connections, but for `one`; `ab` where it is HEAD, which `wrk` cannot ask. Ferry
is asked for a private repository. `--by` says what it is shown: a token for a machine's key (and a signature,
whose nonce is spent, where a token is asked for), an API key itself, or a token for one. Registry v3 knows no
accounts, so for `token` it has no figure. Beside requests a second and the 99th percentile stands what the
server's process used of the processor for a thousand requests: that figure can be compared on a busy machine
too, within one run. `--against` measures another working tree of Ferry in turn with this one. Nothing here
fails a test run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import MANIFEST, TAG, Load, fill, make_load
from peers import Registry, cncf_registry, find, free_port, http_call, running

from registry.auth import signing
from registry.auth.keys import PrivateKey

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "bench/model"
KEY = PrivateKey(bytes(range(32)))
WORKS = {"manifest": 32, "head": 32, "one": 1, "blob": 32, "token": 32}
SIGNED = 1200  # token requests a second of a run that are made in advance
TICKS = os.sysconf("SC_CLK_TCK")
# What `wrk` and `ab` say.
_COUNT = re.compile(r"([1-9]\d*) requests in|Complete requests:\s+([1-9]\d*)")
_RATE = re.compile(r"Requests(?: per second|/sec):\s+([\d.]+)")
_P99 = re.compile(r"99%\s+([\d.]+)(us|ms|s|)")
_REFUSED = re.compile(r"Non-2xx")
_UNITS = {"us": 0.001, "": 1.0, "ms": 1.0, "s": 1000.0}

SCRIPT = """
local lines, at = {}, 0
for line in io.lines("PLACE") do lines[#lines + 1] = line end
function request()
  at = at % #lines + 1
  local path, signature = lines[at]:match("(%S+) (%S+)")
  return wrk.format("GET", path, {["Authorization"] = signature})
end
"""


@dataclass(frozen=True)
class Side:
    """One server with one model in it, and the headers it is asked with, by what they show."""

    name: str
    registry: Registry
    load: Load
    headers: dict[str, dict[str, str]]


@dataclass
class Row:
    """One server at one work: requests a second, milliseconds, processor seconds per thousand."""

    work: str
    side: str
    by: str
    rate: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failed: str = ""


@contextlib.contextmanager
def ferry_side(name: str, tree: Path, place: Path, load: Load) -> Iterator[Side]:
    """`ferry serve` of `tree`, filled while anybody may write, then with an account and a private model."""
    place.mkdir()
    host, data = f"127.0.0.1:{free_port()}", place / "data"
    ferry = [sys.executable, "-P", "-m", "cli"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "HOME": str(place)}
    key = place / "key.pub"
    key.write_text(KEY.public.line + "\n")

    def served(*options: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        command = [*ferry, "serve", "--data", str(data), "--listen", host, *options]
        url = f"http://{host}/healthz"
        return running(command, place / "log", lambda: http_call("GET", url).status == 200, environment)

    with served("--anonymous", "write") as process:
        fill(Registry("ferry", host, data, place / "log", process), load, REPOSITORY)
    for told in (("user", "add", "ada", "--key", str(key)), ("grant", "ada", "bench", "read")):
        admin = [sys.executable, "-P", "-m", "cli", "admin", *told, "--data", str(data)]
        subprocess.run(admin, env=environment, check=True, capture_output=True)
    with served() as process:
        registry = Registry("ferry", host, data, place / "log", process)
        yield Side(name, registry, load, shown(host))


def shown(host: str) -> dict[str, dict[str, str]]:
    """What opens the model, in each of the ways of `--by`; a tree without API keys has one."""
    url = f"http://{host}"
    by = {"token": token_of(url, signed(host))}
    account = token_of(url, signed(host, "registry:account:*"))
    asked = json.dumps({"scopes": [f"{REPOSITORY}:pull"]}).encode()
    made = http_call("POST", f"{url}/api/credentials", asked, account)
    if made.status == 201:
        by["key"] = {"Authorization": f"Bearer {json.loads(made.body)['secret']}"}
        target = f"/v2/token?scope=repository:{REPOSITORY}:pull"
        by["key-token"] = token_of(url, (target, by["key"]["Authorization"]))
    return by


def token_of(url: str, asked: tuple[str, str]) -> dict[str, str]:
    """The header with the token that a target and its Authorization are answered with."""
    target, authorization = asked
    answer = http_call("GET", url + target, headers={"Authorization": authorization})
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


@contextlib.contextmanager
def cncf_side(place: Path, load: Load) -> Iterator[Side]:
    """Registry v3 with the same model."""
    with cncf_registry("registry", place) as registry:
        fill(registry, load, REPOSITORY)
        yield Side("registry v3", registry, load, {"token": {}})


def signed(host: str, *scopes: str) -> tuple[str, str]:
    """A token request's target, and its signature; for the model, unless `scopes` say what for."""
    nonce, wanted = secrets.token_urlsafe(16), scopes or (f"repository:{REPOSITORY}:pull",)
    url = signing.token_url(f"http://{host}/v2/token", host, wanted, now=time.time(), nonce=nonce)
    return url.partition(host)[2], signing.authorization(KEY, signing.token_text(url))


def command(work: str, by: str, side: Side, seconds: int, place: Path) -> list[str]:
    """What asks for one work, showing what `by` says."""
    base = f"http://{side.registry.host}"
    headers = {**side.headers[by], "Accept": MANIFEST}
    wrk = ["wrk", "-t1", f"-c{WORKS[work]}", f"-d{seconds}s", "--latency"]
    if work == "token" and by == "token":
        lines, script = place / "signed", place / "signed.lua"
        made = (signed(side.registry.host) for _ in range(seconds * SIGNED))
        lines.write_text("".join(f"{path} {signature}\n" for path, signature in made))
        script.write_text(SCRIPT.replace("PLACE", str(lines)))
        return [*wrk, "-s", str(script), base]
    if work == "blob":
        digest = next(digest for digest, size in side.load.blobs if size == 1000)
        target = f"{base}/v2/{REPOSITORY}/blobs/{digest}"
    elif work == "token":
        target = f"{base}/v2/token?scope=repository:{REPOSITORY}:pull"
    else:
        target = f"{base}/v2/{REPOSITORY}/manifests/{TAG}"
    if work == "head":
        told = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        return ["ab", "-q", "-i", "-k", f"-c{WORKS[work]}", f"-t{seconds}", "-n9999999", *told, target]
    return [*wrk, *(f"--header={name}: {value}" for name, value in headers.items()), target]


def used(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(work: str, side: Side, row: Row, seconds: int, place: Path) -> None:
    """One run of one row."""
    asking = command(work, row.by, side, seconds, place)
    pid = side.registry.process.pid
    before = used(pid)
    done = subprocess.run(asking, capture_output=True, text=True)
    spent = used(pid) - before
    said = done.stdout
    count = _COUNT.search(said)
    rate = _RATE.search(said)
    late = _P99.search(said)
    if done.returncode or not (count and rate and late) or _REFUSED.search(said):
        row.failed = (done.stderr.strip() or said)[-300:].replace("\n", " ")
        return
    row.rate.append(float(rate[1]))
    row.p99.append(float(late[1]) * _UNITS[late[2]])
    row.cpu.append(1000 * spent / int(count[1] or count[2]))


def table(rows: list[Row]) -> str:
    lines = [
        "| work | server | by | requests/s | p99 ms | CPU s per 1,000 |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        if row.failed or not row.rate:
            lines.append(f"| {row.work} | {row.side} | {row.by} | {row.failed or '-'} | | |")
            continue
        rate, late, cpu = (statistics.median(each) for each in (row.rate, row.p99, row.cpu))
        lines.append(f"| {row.work} | {row.side} | {row.by} | {rate:,.0f} | {late:.1f} | {cpu:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default=",".join(WORKS))
    parser.add_argument("--by", default="token", help="token, key, key-token")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another working tree of Ferry")
    parser.add_argument("--only-ferry", action="store_true", help="without registry v3")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    find("wrk")
    place = Path(tempfile.mkdtemp(prefix="ferry-small-"))
    works = asked.work.split(",")
    try:
        with contextlib.ExitStack() as stack:
            load = make_load(place / "load", 3, 1000)
            sides = [stack.enter_context(ferry_side("ferry", ROOT, place / "new", load))]
            if asked.against:
                sides.append(stack.enter_context(ferry_side("against", asked.against, place / "old", load)))
            if not asked.only_ferry:
                sides.append(stack.enter_context(cncf_side(place / "cncf", load)))
            rows = [
                Row(work, side.name, by)
                for work in works
                for side in sides
                for by in asked.by.split(",")
                if by in side.headers and (work != "token" or (side.headers[by] and by != "key-token"))
            ]
            by_name = {side.name: side for side in sides}
            for _ in range(asked.runs):
                for row in rows:
                    measure(row.work, by_name[row.side], row, asked.seconds, place)
        print(table(rows))
        if asked.json:
            asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
