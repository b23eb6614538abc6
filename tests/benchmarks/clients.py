"""How each program is told to pull or push the load. A program that cannot do a work says None."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from load import LOCAL, TAG, Load
from peers import Registry, ferry_command, free_port, http_call, running

REPOSITORY = "bench/model"
BASELINE = str(Path(__file__).with_name("baseline.py"))


@dataclass(frozen=True)
class Job:
    """One command to measure; `stdout` is where its output goes."""

    command: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    stdout: str = os.devnull


@dataclass(frozen=True)
class Task:
    """What is moved, where the registry is, and an empty directory that is gone after the run."""

    load: Load
    registry: Registry
    scratch: Path


def ferry_pull(task: Task) -> Job:
    name = f"{task.registry.host}/{REPOSITORY}:{TAG}"
    return Job([*ferry_command(), "pull", name, "--progress", "none"], {"HOME": str(task.scratch)})


def ferry_push(task: Task) -> Job:
    name, models = f"{task.registry.host}/{REPOSITORY}:{TAG}", task.load.home / ".ollama" / "models"
    command = [*ferry_command(), "push", LOCAL, name, "--models", str(models), "--progress", "none"]
    return Job(command, {"HOME": str(task.scratch)})


def oras_pull(task: Task) -> Job:
    name = f"{task.registry.host}/{REPOSITORY}:{TAG}"
    out = f"{task.scratch / 'layout'}:{TAG}"
    return Job(["oras", "copy", "--no-tty", "--from-plain-http", "--to-oci-layout", name, out])


def oras_push(task: Task) -> Job:
    name = f"{task.registry.host}/{REPOSITORY}:{TAG}"
    return Job(
        [
            "oras",
            "copy",
            "--no-tty",
            "--from-oci-layout",
            "--to-plain-http",
            f"{task.load.layout}:{TAG}",
            name,
        ]
    )


def crane_pull(task: Task) -> Job:
    """`crane blob` to a file for one blob, `crane pull` into a layout for many."""
    name = f"{task.registry.host}/{REPOSITORY}"
    if len(task.load.blobs) == 2:
        return Job(["crane", "blob", f"{name}@{task.load.biggest}"], stdout=str(task.scratch / "blob"))
    return Job(["crane", "pull", "--format=oci", f"{name}:{TAG}", task.scratch / "layout"])


def crane_push(task: Task) -> Job:
    return Job(["crane", "push", task.load.layout, f"{task.registry.host}/{REPOSITORY}:{TAG}"])


def blob_url(task: Task) -> str:
    return f"http://{task.registry.host}/v2/{REPOSITORY}/blobs/{task.load.biggest}"


def curl_pull(task: Task) -> Job | None:
    """One stream, nothing proven."""
    if len(task.load.blobs) != 2:
        return None
    return Job(["curl", "-sfL", "-o", task.scratch / "blob", blob_url(task)])


def curl_push(task: Task) -> Job | None:
    if len(task.load.blobs) != 2:
        return None
    script = (
        'at=$(curl -sf -o /dev/null -w "%header{location}" -X POST "$1"); '
        'case "$at" in http*) ;; *) at="$2$at" ;; esac; '
        'case "$at" in *\\?*) at="$at&" ;; *) at="$at?" ;; esac; '
        'exec curl -sf -o /dev/null -H Expect: -H "Content-Type: application/octet-stream" '
        '-T "$4" "${at}digest=$3"'
    )
    base = f"http://{task.registry.host}"
    uploads = f"{base}/v2/{REPOSITORY}/blobs/uploads/"
    return Job(
        ["sh", "-c", script, "sh", uploads, base, task.load.biggest, task.load.file(task.load.biggest)]
    )


def aria2c_pull(task: Task) -> Job | None:
    """Four ranges side by side, nothing proven."""
    if len(task.load.blobs) != 2:
        return None
    quiet = ["--quiet", "--file-allocation=none", "--split=4", "--max-connection-per-server=4"]
    return Job(["aria2c", *quiet, "--dir", task.scratch, "--out", "blob", blob_url(task)])


def baseline_pull(task: Task) -> Job | None:
    if len(task.load.blobs) != 2:
        return None
    url = blob_url(task)
    return Job([sys.executable, BASELINE, "pull", url, task.load.biggest, task.scratch / "blob"])


def baseline_push(task: Task) -> Job | None:
    if len(task.load.blobs) != 2:
        return None
    url = f"http://{task.registry.host}/v2/{REPOSITORY}/blobs/uploads/"
    return Job([sys.executable, BASELINE, "push", url, task.load.biggest, task.load.file(task.load.biggest)])


def ollama_pull(task: Task) -> Job | None:
    """Only from a registry that answers as ollama needs; a plain one that keeps blobs on disk does not."""
    if task.registry.kind != "ferry serve":
        return None
    return Job(["ollama", "pull", "--insecure", f"{task.registry.host}/{REPOSITORY}:{TAG}"])


def ollama_push(task: Task) -> Job | None:
    """The load's own name in the daemon's store is made to fit the registry's before it starts."""
    return Job(["ollama", "push", "--insecure", f"{task.registry.host}/{REPOSITORY}:{TAG}"])


@contextlib.contextmanager
def ollama_daemon(models: Path, scratch: Path) -> Iterator[Mapping[str, str]]:
    """`ollama serve` on a store; yields the environment its command line needs, and its process id."""
    host = f"127.0.0.1:{free_port()}"
    env = {"HOME": str(scratch), "OLLAMA_MODELS": str(models), "OLLAMA_HOST": host, "OLLAMA_NOPRUNE": "1"}
    log = scratch / "ollama.log"
    with running(
        ["ollama", "serve"],
        log,
        lambda: http_call("GET", f"http://{host}/api/version").status == 200,
        {**os.environ, **env},
    ) as process:
        yield {**env, "DAEMON": str(process.pid)}


PULL = {
    "ferry": ferry_pull,
    "oras": oras_pull,
    "crane": crane_pull,
    "curl": curl_pull,
    "aria2c": aria2c_pull,
    "baseline": baseline_pull,
    "ollama": ollama_pull,
}
PUSH = {
    "ferry": ferry_push,
    "oras": oras_push,
    "crane": crane_push,
    "curl": curl_push,
    "baseline": baseline_push,
    "ollama": ollama_push,
}
