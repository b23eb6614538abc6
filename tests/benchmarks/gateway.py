"""What `ferry gateway` costs: time to the first byte, small answers a second, memory of streams over TLS.

`gateway.py [STREAMS [SECONDS]]` starts a far end (this file again, in a process of its own: TLS, asyncio, no
checks) and a gateway before it, and prints a line for each figure. First bytes are measured in turns, at the
far end itself and through the gateway, on connections that stay open: their difference holds on a busy
machine too. Wanted (issue 20): at most 2 ms more; at least 200 a second; at most 100 MiB for 200 streams.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from certificates import write_certificate

from registry.auth.keys import ensure_key

ROOT = Path(__file__).resolve().parents[2]
TURNS = 400
WARM = 40
BODY = json.dumps({"model": "gpt-oss:120b-cloud", "prompt": "hello " * 40, "stream": True}).encode()
HELD = b"/v1/chat/completions"  # answered with one event, and a second one when all have asked
LINE = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
SMALL = b'{"model":"gpt-oss:120b","response":"word","done":true}\n'


async def far_end(place: Path, streams: int) -> None:
    """Answers small documents at once; streams begin, and end when there are so many of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    waiting: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                if HELD not in head:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(SMALL), SMALL))
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(LINE), LINE)
                )
                waiting.append(writer)
                if len(waiting) == streams:
                    await asyncio.sleep(2)  # in which the gateway's memory is looked at
                    for each in waiting:
                        each.write((b"%x\r\n%s\r\n" % (len(LINE), LINE)) * 20 + b"0\r\n\r\n")
                    waiting.clear()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Caller:
    """One connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def at(cls, port: int, tls: ssl.SSLContext | None = None) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))

    async def first_byte(self, path: bytes) -> float:
        """Seconds until the head of the answer is here."""
        began = time.perf_counter()
        self.writer.write(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path, len(BODY), BODY)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        took = time.perf_counter() - began
        assert b" 200 " in head[:16], head
        if b"chunked" not in head:
            await self.reader.readexactly(len(SMALL))
        return took

    async def rest(self) -> int:
        """How many lines a stream brings."""
        return (await self.reader.readuntil(b"\r\n0\r\n\r\n")).count(LINE)


def memory(process: int, what: str) -> float:
    """MiB of a process, as /proc has it."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def processor(process: int) -> float:
    """Seconds of the processor that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def latency(port: int, direct: int, tls: ssl.SSLContext) -> None:
    here, there = await Caller.at(port), await Caller.at(direct, tls)
    took: list[tuple[float, float]] = []
    for _ in range(TURNS + WARM):
        took.append((await there.first_byte(b"/api/generate"), await here.first_byte(b"/api/generate")))
    straight, through = (statistics.median(times) * 1e3 for times in zip(*took[WARM:], strict=True))
    print(f"first byte: {straight:.2f} ms straight, {through:.2f} ms through: {through - straight:+.2f} ms")


async def many(port: int, gateway: int, streams: int) -> None:
    idle = memory(gateway, "VmRSS")
    callers = await asyncio.gather(*(Caller.at(port) for _ in range(streams)))
    await asyncio.gather(*(caller.first_byte(HELD) for caller in callers))
    held = memory(gateway, "VmRSS")
    lines = set(await asyncio.gather(*(caller.rest() for caller in callers)))
    assert lines == {21}, lines
    peak = memory(gateway, "VmHWM")
    print(f"{streams} streams over TLS: {held:.0f} MiB in all, {peak:.0f} MiB at most; idle {idle:.0f} MiB")


async def small(port: int, gateway: int, seconds: float) -> None:
    callers = [await Caller.at(port) for _ in range(8)]
    end = time.monotonic() + seconds
    used = processor(gateway)

    async def ask(caller: Caller) -> int:
        count = 0
        while time.monotonic() < end:
            await caller.first_byte(b"/api/generate")
            count += 1
        return count

    done = sum(await asyncio.gather(*map(ask, callers)))
    used = processor(gateway) - used
    print(f"small answers: {done / seconds:.0f} a second, {used / done * 1e3:.2f} ms of the processor each")


async def measured(port: int, direct: int, gateway: int, place: Path, streams: int, seconds: float) -> None:
    tls = ssl.create_default_context(cafile=str(place / "cert.pem"))
    await latency(port, direct, tls)
    await small(port, gateway, seconds)
    await many(port, gateway, streams)


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    streams, seconds = [*given, *(200, 5)[len(given) :]]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_certificate(place)
        ensure_key(place / ".ollama" / "id_ed25519", os.urandom(32))
        other = subprocess.Popen(
            [sys.executable, __file__, "far-end", scratch, str(streams)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        direct = int(other.stdout.readline())
        words = ["gateway", "--listen", "127.0.0.1:0", "--to", f"https://127.0.0.1:{direct}", "--quiet"]
        env = {"HOME": scratch, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        gateway = subprocess.Popen(
            [sys.executable, "-m", "cli", *words, "--tls-ca", str(place / "cert.pem"), "--format", "json"],
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        try:
            assert gateway.stdout is not None
            port = int(json.loads(gateway.stdout.readline())["url"].rpartition(":")[2])
            asyncio.run(measured(port, direct, gateway.pid, place, streams, seconds))
        finally:
            gateway.terminate()
            other.terminate()
            gateway.wait()
            other.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["far-end"]:
        asyncio.run(far_end(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
