"""How each program is told to pull or push the load. A program that cannot do a work says None."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from doors import Door
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
    """What is moved, the registry and the way to it, and an empty directory that is gone after the run."""

    load: Load
    registry: Registry
    door: Door
    scratch: Path

    @property
    def name(self) -> str:
        """The model's, without its tag."""
        return f"{self.door.host}/{REPOSITORY}"

    @property
    def address(self) -> str:
        """The model's name for Ferry, which takes the loopback for plain HTTP unless it is told."""
        return f"{'https://' if self.door.ca else ''}{self.name}:{TAG}"

    @property
    def trust(self) -> Mapping[str, str]:
        """The environment that makes every program but curl believe the door, and nobody else."""
        return {"SSL_CERT_FILE": str(self.door.ca)} if self.door.ca else {}


def ferry_pull(task: Task) -> Job:
    command = [*ferry_command(), "pull", task.address, "--progress", "none"]
    return Job(command, {"HOME": str(task.scratch), **task.trust})


def ferry_push(task: Task) -> Job:
    models = task.load.home / ".ollama" / "models"
    command = [*ferry_command(), "push", LOCAL, task.address, "--models", str(models)]
    return Job([*command, "--progress", "none"], {"HOME": str(task.scratch), **task.trust})


def oras_pull(task: Task) -> Job:
    way = ["--from-ca-file", str(task.door.ca)] if task.door.ca else ["--from-plain-http"]
    out = f"{task.scratch / 'layout'}:{TAG}"
    return Job(["oras", "copy", "--no-tty", *way, "--to-oci-layout", f"{task.name}:{TAG}", out])


def oras_push(task: Task) -> Job:
    way = ["--to-ca-file", str(task.door.ca)] if task.door.ca else ["--to-plain-http"]
    layout = f"{task.load.layout}:{TAG}"
    return Job(["oras", "copy", "--no-tty", "--from-oci-layout", *way, layout, f"{task.name}:{TAG}"])


def crane_pull(task: Task) -> Job:
    """`crane blob` to a file for one blob, `crane pull` into a layout for many."""
    if len(task.load.blobs) == 2:
        blob = f"{task.name}@{task.load.biggest}"
        return Job(["crane", "blob", blob], task.trust, stdout=str(task.scratch / "blob"))
    command = ["crane", "pull", "--format=oci", f"{task.name}:{TAG}", str(task.scratch / "layout")]
    return Job(command, task.trust)


def crane_push(task: Task) -> Job:
    return Job(["crane", "push", task.load.layout, f"{task.name}:{TAG}"], task.trust)


def blob_url(task: Task) -> str:
    return f"{task.door.url}/v2/{REPOSITORY}/blobs/{task.load.biggest}"


def uploads_url(task: Task) -> str:
    return f"{task.door.url}/v2/{REPOSITORY}/blobs/uploads/"


def curl_pull(task: Task) -> Job | None:
    """One stream, nothing proven."""
    if len(task.load.blobs) != 2:
        return None
    return Job(["curl", *_curl_trust(task), "-sfL", "-o", task.scratch / "blob", blob_url(task)])


def curl_push(task: Task) -> Job | None:
    if len(task.load.blobs) != 2:
        return None
    trust = " ".join(_curl_trust(task))
    script = (
        f'at=$(curl {trust} -sf -o /dev/null -w "%header{{location}}" -X POST "$1"); '
        'case "$at" in http*) ;; *) at="$2$at" ;; esac; '
        'case "$at" in *\\?*) at="$at&" ;; *) at="$at?" ;; esac; '
        f'exec curl {trust} -sf -o /dev/null -H Expect: -H "Content-Type: application/octet-stream" '
        '-T "$4" "${at}digest=$3"'
    )
    digest = task.load.biggest
    arguments = [uploads_url(task), task.door.url, digest, str(task.load.file(digest))]
    return Job(["sh", "-c", script, "sh", *arguments])


def _curl_trust(task: Task) -> list[str]:
    return ["--cacert", str(task.door.ca)] if task.door.ca else []


def aria2c_pull(task: Task) -> Job | None:
    """Four ranges side by side, nothing proven."""
    if len(task.load.blobs) != 2:
        return None
    quiet = ["--quiet", "--file-allocation=none", "--split=4", "--max-connection-per-server=4"]
    trust = [f"--ca-certificate={task.door.ca}"] if task.door.ca else []
    return Job(["aria2c", *quiet, *trust, "--dir", task.scratch, "--out", "blob", blob_url(task)])


def baseline_pull(task: Task) -> Job | None:
    return _baseline(task, "pull", blob_url(task), task.scratch / "blob")


def loop_pull(task: Task) -> Job | None:
    """The bare loop: one connection, no library, nothing promised; for many blobs see `_many`."""
    if len(task.load.blobs) != 2:
        return _many(task, "pull-many", task.scratch)
    return _baseline(task, "loop", blob_url(task), task.scratch / "blob")


def baseline_push(task: Task) -> Job | None:
    return _baseline(task, "push", uploads_url(task), task.load.file(task.load.biggest))


def loop_push(task: Task) -> Job | None:
    """The bare loop of a push."""
    if len(task.load.blobs) != 2:
        return _many(task, "push-many", task.load.layout / "blobs" / "sha256")
    return _baseline(task, "send", uploads_url(task), task.load.file(task.load.biggest))


def _baseline(task: Task, verb: str, url: str, file: Path) -> Job | None:
    if len(task.load.blobs) != 2:
        return None
    return Job([sys.executable, BASELINE, verb, url, task.load.biggest, file], task.trust)


def _many(task: Task, verb: str, directory: Path) -> Job:
    """The bare loop of many blobs: `requests` from as many threads as Ferry takes, nothing promised."""
    listed = task.scratch / "digests"
    listed.write_text("\n".join(digest for digest, _ in task.load.blobs))
    url = f"{task.door.url}/v2/{REPOSITORY}"
    return Job([sys.executable, BASELINE, verb, url, listed, directory], task.trust)


def ollama_pull(task: Task) -> Job | None:
    """Only from a registry that answers as ollama needs; a plain one that keeps blobs on disk does not."""
    if task.registry.kind != "ferry serve" or task.door.ca:
        return None
    return Job(["ollama", "pull", "--insecure", f"{task.name}:{TAG}"])


def ollama_push(task: Task) -> Job | None:
    """The load's own name in the daemon's store is made to fit the registry's before it starts."""
    if task.door.ca:
        return None
    return Job(["ollama", "push", "--insecure", f"{task.name}:{TAG}"])


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
    "loop": loop_pull,
    "ollama": ollama_pull,
}
PUSH = {
    "ferry": ferry_push,
    "oras": oras_push,
    "crane": crane_push,
    "curl": curl_push,
    "baseline": baseline_push,
    "loop": loop_push,
    "ollama": ollama_push,
}
