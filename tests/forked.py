"""Runs of ferry in processes that are forked from one in which Python and Ferry are loaded already.

`Forks.run` is a run from its arguments to its end, `Forks.begin` one that goes on: a server. To Ferry it is
like any other: arguments, environment, directory, standard streams, signals and exit code are its own, and
the modules run as `python -m cli` runs them. What is saved is the start, 0.1 to 0.8 seconds of processor
time, which the tests would spend some thousand times. Linux only (`pidfd_open`).
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(__file__).with_name("forked_ferry.py")
AVAILABLE = hasattr(os, "pidfd_open")
_LENGTH = 8  # bytes in front of a request

Ended = tuple[int, bytes, bytes]  # exit code, standard output, standard error


# --- the tests' side -----------------------------------------------------------------------------------


class Forks:
    """The process that is forked from; it ends with this one."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="forks-")
        self._path = str(Path(self._directory.name) / "socket")
        self.program = (sys.executable, "-I", "-S", str(PROGRAM), self._path)  # ferry, to start
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._path],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        stdin: bytes,
        seconds: float,
        script: str = "",
    ) -> Ended:
        """One run, from its arguments to its end. TimeoutExpired after `seconds`, when it is killed."""
        theirs, ours = zip(*(os.pipe() for _ in range(3)), strict=True)
        given = (theirs[0], ours[1], ours[2])
        read = [bytearray(), bytearray()]
        with self._asked(words, env, cwd, given, script) as connection:
            for descriptor in given:
                os.close(descriptor)
            threads = [
                threading.Thread(target=_write, args=(ours[0], stdin)),
                *(threading.Thread(target=_read, args=(theirs[n + 1], read[n])) for n in range(2)),
            ]
            for thread in threads:
                thread.start()
            try:
                code = Running(connection, words).wait(seconds)
            except subprocess.TimeoutExpired:
                connection.shutdown(socket.SHUT_RDWR)  # by which it is told to kill the run
                raise
            finally:
                for thread in threads:
                    thread.join()
        return code, bytes(read[0]), bytes(read[1])

    def begin(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        out: IO[Any] | None,
        err: IO[Any],
        script: str = "",
    ) -> Running:
        """A run that goes on, in a session of its own; without `out` its standard output is a pipe to here.

        It is killed when this process ends.
        """
        with contextlib.ExitStack() as closing:
            nothing = closing.enter_context(Path(os.devnull).open("rb"))
            reads, writes = os.pipe() if out is None else (-1, out.fileno())
            if out is None:
                closing.callback(os.close, writes)
            given = (nothing.fileno(), writes, err.fileno())
            connection = self._asked(words, env, cwd, given, script, alone=True)
            return Running(connection, words, None if reads < 0 else os.fdopen(reads))

    def _asked(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        given: Sequence[int],
        script: str,
        alone: bool = False,
    ) -> socket.socket:
        """The connection of a run that has been asked for; `given` are its standard streams."""
        asked = {"words": words, "env": dict(env), "cwd": str(cwd), "alone": alone, "script": script}
        request = json.dumps(asked).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))]
        connection.sendmsg([len(request).to_bytes(_LENGTH, "big")], rights)
        connection.sendall(request)
        return connection

    def close(self) -> None:
        """End it, and the runs that are under way."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._directory.cleanup()


class Running:
    """A run that is under way: what tests ask of a `subprocess.Popen`."""

    def __init__(
        self, connection: socket.socket, words: Sequence[str], stdout: IO[str] | None = None
    ) -> None:
        self.args = ("ferry", *words)
        self.stdout = stdout
        self.returncode: int | None = None
        self._connection = connection
        self._said = connection.makefile("rb")
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            ready, _, _ = select.select([self._connection], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._said.readline())
            self._said.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


_forks: list[Forks] = []


def forks() -> Forks:
    """The one of this process, begun when it is first asked for."""
    if not _forks:
        _forks.append(Forks())
        atexit.register(_forks[0].close)
    return _forks[0]


def _write(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", buffering=0) as pipe:
        try:
            pipe.write(data)
        except BrokenPipeError:  # it ended without reading
            return


def _read(descriptor: int, into: bytearray) -> None:
    with open(descriptor, "rb", buffering=0) as pipe:
        while piece := pipe.read(65536):
            into += piece


# --- the other side ------------------------------------------------------------------------------------


def load() -> None:
    """Import all of Ferry, and with it what it stands on."""
    for package in ("cli", "registry"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if "migrations" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)


class Begun:
    """A run of this process's, and the connection on which its end is told."""

    def __init__(self, process: int, connection: socket.socket) -> None:
        self.process = process
        self.connection = connection
        self.ended = os.pidfd_open(process)

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)

    def tell(self) -> None:
        """Tell its exit code, if anybody still listens."""
        _, status = os.waitpid(self.process, 0)
        with contextlib.suppress(OSError):
            self.connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        self.close()

    def close(self) -> None:
        os.close(self.ended)
        self.connection.close()


def serve(path: str) -> None:
    """Fork a run for each request and tell its exit code, until standard input ends: then kill what runs.

    One process does it all: each fork of it copies the page tables of all that is loaded, some milliseconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C it is the tests that end what runs
    runs: list[Begun] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            heard = [each for run in runs for each in (run.ended, run.connection.fileno())]
            ready, _, _ = select.select([0, listener.fileno(), *heard], [], [])
            for run in tuple(runs):
                gone = run.connection.fileno() in ready or 0 in ready  # the tests have hung up, or ended
                if gone:
                    run.kill()
                if gone or run.ended in ready:
                    runs.remove(run)
                    run.tell()
            if 0 in ready:
                return
            if listener.fileno() in ready:
                connection, _ = listener.accept()
                with contextlib.suppress(EOFError):
                    request, descriptors = received(connection)
                    begin(request, descriptors, connection, listener, runs)


def received(connection: socket.socket) -> tuple[dict[str, object], list[int]]:
    """A request and the standard streams it came with. EOFError if there is none: who asked was killed."""
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    length = int.from_bytes(head, "big")
    with connection.makefile("rb") as rest:
        body = rest.read(length)
    if not body or len(body) < length:
        connection.close()
        for descriptor in descriptors:
            os.close(descriptor)
        raise EOFError
    request: dict[str, object] = json.loads(body)
    return request, descriptors


def begin(
    request: Mapping[str, object],
    descriptors: Sequence[int],
    connection: socket.socket,
    listener: socket.socket,
    runs: list[Begun],
) -> None:
    """Run what is asked for in a process of its own, which has nothing of this one's open."""
    process = os.fork()
    if process == 0:
        for each in (listener.close, connection.close, *(run.close for run in runs)):
            each()
        become(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    runs.append(Begun(process, connection))
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % process)


def _stream(number: int, mode: str, errors: str, line_buffering: bool = False) -> io.TextIOWrapper:
    """A standard stream as Python opens it where no language is set."""
    raw = io.FileIO(number, mode, closefd=False)
    buffered = io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, "utf-8", errors, line_buffering=line_buffering)


def become(request: Mapping[str, object], descriptors: Sequence[int]) -> NoReturn:
    """Be `python -m cli` with these arguments, or `python SCRIPT`."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number, inheritable=True)
        os.close(descriptor)
    words, env, script = request["words"], request["env"], str(request["script"])
    assert isinstance(words, list) and isinstance(env, dict)
    if request["alone"]:
        os.setsid()
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [script or "ferry", *words]
    sys.stdin = _stream(0, "rb", "surrogateescape")
    sys.stdout = _stream(1, "wb", "surrogateescape")
    sys.stderr = _stream(2, "wb", "backslashreplace", line_buffering=True)
    code = 1
    try:
        if script:
            sys.path.insert(0, str(Path(script).parent))
            runpy.run_path(script, run_name="__main__")
        else:
            runpy.run_module("cli", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter that it reaches
        traceback.print_exc()
    finally:
        leave(code)


def leave(code: int) -> NoReturn:
    """End as an interpreter does, but for the taking apart of every module, which takes it long."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    load()
    gc.freeze()  # what is loaded is looked at by no collector, and so copied by no fork
    serve(sys.argv[1])
