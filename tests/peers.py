"""Real programs as peers: registries, fronts and clients, started on free loopback ports and always ended.

A program that is not here skips the test that wants it, with the reason `tests/run` found.
Every peer is a context manager, so that benchmarks and scripts can use them too; the fixtures at the
end are those context managers, one process a test module.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import forked
import pytest
from certificates import write_certificate

Process: TypeAlias = "subprocess.Popen[bytes] | forked.Running"
Ready: TypeAlias = Callable[[], bool]
READY_SECONDS = 30.0
RUN_SECONDS = 240.0


def find(program: str) -> str:
    """The path of `program`, or a skip that says why it is not here."""
    path = shutil.which(program)
    if path:
        return path
    reasons: dict[str, str] = json.loads(os.environ.get("FERRY_TESTS_MISSING", "{}"))
    pytest.skip(f"{program} is not here: {reasons.get(program, 'not on the PATH (tests/run installs it)')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def http_call(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One plain request without redirects, retries or credentials. OSError when nobody listens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Ready,
    env: Mapping[str, str] | None = None,
    ending: int = signal.SIGTERM,
    errors: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process group of its own while the block lasts; its output goes to `log`.

    What it says on standard error goes to `errors` instead, if that is given.
    It dies with this process too (Linux), so that not even a SIGKILL leaves one behind.
    """
    guarded = [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]
    with log.open("ab") as out:
        process = subprocess.Popen(
            guarded,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out if errors is None else errors,
            env=env,
            start_new_session=True,
        )
    try:
        wait_until_ready(process, command[0], log, ready)
        yield process
    finally:
        end(process, ending)


@contextlib.contextmanager
def running_ferry(words: Sequence[str], log: Path, ready: Ready, script: str = "") -> Iterator[Process]:
    """The same of ferry, or of a script, forked from a process that has loaded Ferry."""
    with log.open("ab") as out:
        process = forked.forks().begin(words, os.environ, Path.cwd(), out, out, script)
    try:
        wait_until_ready(process, "ferry", log, ready)
        yield process
    finally:
        end(process)


def wait_until_ready(process: Process, program: str, log: Path, ready: Ready) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ready():
                return
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-4000:]
            what = f"ended with {code}" if code is not None else f"was not ready after {READY_SECONDS:.0f} s"
            raise AssertionError(f"{program} {what}; it said:\n{said}")
        time.sleep(0.02)


def end(process: Process, ending: int = signal.SIGTERM) -> None:
    """Ends the process and everything it started: politely, then for certain."""
    if process.poll() is None:
        process.send_signal(ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Registry:
    """A registry that runs: `host` is what stands in front of a name."""

    kind: str
    host: str
    data: Path
    log: Path
    process: Process = field(repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return http_call(method, f"http://{self.host}{path}", body, headers)


CNCF = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
http:
  addr: {host}
  secret: not-a-secret
"""


@contextlib.contextmanager
def cncf_registry(program: str, place: Path) -> Iterator[Registry]:
    """`docker-registry` (Debian's 2.8) or `registry` (v3): anonymous, on disk, deletes allowed."""
    path = find(program)
    place.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    config, log, data = place / "config.yml", place / "log", place / "data"
    config.write_text(CNCF.format(data=data, host=host))
    env = {**os.environ, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    url = f"http://{host}/v2/"
    with running(
        [path, "serve", str(config)], log, lambda: http_call("GET", url).status == 200, env
    ) as process:
        yield Registry(program, host, data, log, process)


def ferry_command() -> list[str]:
    """The `ferry` of this environment, else the module."""
    script = Path(sys.executable).with_name("ferry")
    return [str(script)] if script.exists() else [sys.executable, "-m", "cli.main"]


@contextlib.contextmanager
def ferry_server(
    place: Path, *options: str, port: int = 0, program: Sequence[str] = (), errors: int | None = None
) -> Iterator[Registry]:
    """`ferry serve` on its data below `place`; without options a lab registry anybody may write to.

    Without a `program`, or with a Python script as one, it is forked from a process that has loaded Ferry.
    `ferry_command()` starts as it does elsewhere; its standard error goes to `errors` if that is given.
    """
    place.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    log, data = place / "log", place / "data"
    words = ["serve", "--data", str(data), "--listen", host, *(options or ("--anonymous", "write"))]

    def ready() -> bool:
        return http_call("GET", f"http://{host}/healthz").status == 200

    starting: contextlib.AbstractContextManager[Process]
    script = [word for word in program[1:2] if word.endswith(".py")]
    if forked.AVAILABLE and (script or not program):
        starting = running_ferry([*program[2:], *words], log, ready, *script)
    else:
        starting = running([*(program or ferry_command()), *words], log, ready, errors=errors)
    with starting as process:
        yield Registry("ferry serve", host, data, log, process)


NGINX = """\
daemon off;
pid {place}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  server {{
    listen {host} ssl;
    ssl_certificate {place}/cert.pem;
    ssl_certificate_key {place}/key.pem;
    {location}
  }}
}}
"""
LOCATION = """\
location / {{
  proxy_pass http://{upstream};
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-Proto https;
  proxy_request_buffering off;
  proxy_buffering off;
  client_max_body_size 0;
}}
"""


@dataclass(frozen=True)
class Front:
    """A TLS door in front of a registry; `ca` is the certificate that proves it."""

    host: str
    ca: Path
    log: Path


@contextlib.contextmanager
def tls_front(place: Path, upstream: str, location: str = "") -> Iterator[Front]:
    """nginx, speaking TLS for 127.0.0.1 with a certificate of its own, in front of `upstream` (host:port)."""
    path = find("nginx")
    place.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    write_certificate(place)
    config, log = place / "nginx.conf", place / "log"
    user = "user root;\n" if os.geteuid() == 0 else ""
    location = location or LOCATION.format(upstream=upstream)
    config.write_text(user + NGINX.format(place=place, host=host, location=location))

    def ready() -> bool:
        with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=5):
            return True

    with running([path, "-p", str(place), "-c", str(config), "-e", "stderr"], log, ready):
        yield Front(host, place / "cert.pem", log)


@dataclass(frozen=True)
class Done:
    """What a program said and how it ended."""

    command: tuple[str, ...]
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")


@dataclass(frozen=True)
class Tool:
    """A command-line program with the options and environment that every call of it gets."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None

    def run(self, *arguments: str | Path, stdin: bytes | None = None, seconds: float = RUN_SECONDS) -> Done:
        """Runs it to its end, however that is."""
        command = (*self.command, *map(str, arguments))
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            env={**os.environ, **self.env},
            cwd=self.cwd,
            timeout=seconds,
        )
        return Done(command, done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def __call__(self, *arguments: str | Path, stdin: bytes | None = None) -> Done:
        """Runs it, and it must end well."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 0, (
            f"{' '.join(done.command)} ended with {done.code}\n{done.text[-2000:]}\n{done.err[-4000:]}"
        )
        return done


class FerryTool(Tool):
    """`ferry`; its runs are forked from a process that has loaded it, where that can be done."""

    def run(self, *arguments: str | Path, stdin: bytes | None = None, seconds: float = RUN_SECONDS) -> Done:
        if not forked.AVAILABLE:
            return super().run(*arguments, stdin=stdin, seconds=seconds)
        words, env = [*map(str, arguments)], {**os.environ, **self.env}
        code, out, err = forked.forks().run(words, env, self.cwd or Path.cwd(), stdin or b"", seconds)
        return Done((*self.command, *words), code, out, err.decode(errors="replace"))


def ferry_tool(home: Path) -> FerryTool:
    """`ferry` as a person with the given home, whose models lie in the usual place below it."""
    home.mkdir(parents=True, exist_ok=True)
    return FerryTool(tuple(ferry_command()), {"HOME": str(home), "COLUMNS": "100"})


# --- fixtures ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with cncf_registry("docker-registry", tmp_path_factory.mktemp("docker-registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def registry_v3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with cncf_registry("registry", tmp_path_factory.mktemp("registry-v3")) as registry:
        yield registry


@pytest.fixture(scope="module")
def lab_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """`ferry serve --anonymous write`."""
    with ferry_server(tmp_path_factory.mktemp("ferry-serve")) as registry:
        yield registry


@pytest.fixture(scope="module", params=["docker-registry", "registry", "ferry serve"])
def far_end(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Each registry in turn: Debian's 2.8, CNCF's v3, and Ferry's own."""
    place = tmp_path_factory.mktemp("far-end")
    front = ferry_server(place) if request.param == "ferry serve" else cncf_registry(request.param, place)
    with front as registry:
        yield registry


@pytest.fixture
def ferry(tmp_path: Path) -> Tool:
    """`ferry` with an empty home of its own."""
    return ferry_tool(tmp_path / "home")


@pytest.fixture
def crane() -> Tool:
    return Tool((find("crane"),))


@pytest.fixture
def oras(tmp_path: Path) -> Tool:
    """`oras`, working in the test's directory (it refuses absolute paths); say --plain-http yourself."""
    return Tool((find("oras"),), cwd=tmp_path)


@pytest.fixture
def skopeo() -> Tool:
    return Tool((find("skopeo"), "--insecure-policy"))
