"""A registry that `ferry serve` runs in a process of its own, and its administrator."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import forked
from person import Done, Ferry

from cli.demo_browser import DemoBrowser
from registry.wire.messages import Origin


class House:
    """`ferry serve` on a free port, from `open` to `close`."""

    def __init__(self, admin: Ferry, *words: str, data: Path | None = None) -> None:
        self.admin = admin
        self.data = data or admin.home / "data"
        self.host = ""
        self.ready = ""
        self.rest = ""
        self._words = words
        self._process: forked.Running | subprocess.Popen[str] | None = None

    def open(self) -> House:
        log = (self.admin.home / "log").open("w")
        listen = self.host or "127.0.0.1:0"
        self._process = self.admin.begin(
            "serve", "--data", self.data, "--listen", listen, *self._words, stderr=log
        )
        log.close()
        watchdog = threading.Timer(30, self._process.kill)
        watchdog.start()
        assert self._process.stdout is not None
        self.ready = self._process.stdout.readline()
        watchdog.cancel()
        assert self.ready.startswith("ferry serve: ready on http"), self.log
        self.host = self.ready.split("//")[1].split()[0]
        return self

    def next_line(self) -> str:
        """The next line of its standard output."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def set_up(self, name: str, password: str) -> DemoBrowser:
        """Its first account, made in a browser by the link that it prints where nobody has one yet."""
        link = self.next_line().removeprefix("set-up: ").strip()
        browser = DemoBrowser(Origin.of(f"http://{self.host}"))
        target = link.removeprefix(f"http://{self.host}")
        browser.send(target, code=link.partition("#")[2], name=name, password=password, again=password)
        return browser

    def close(self) -> int:
        """Its exit code after SIGTERM; `rest` is then what nobody has read of its standard output."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        self.rest = self._process.stdout.read()
        code = self._process.wait(60)
        self._process.stdout.close()
        return code

    def signal(self, number: int) -> None:
        """Send a signal to its process."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def log(self) -> str:
        return (self.admin.home / "log").read_text()

    def welcome(self, person: Ferry, name: str) -> None:
        """Give a person an account."""
        done = person("signin", self.host, "--give-up-after", "0")
        assert done.code == 4, done.err
        self("user", "add", name, "--key", person.home / ".ollama" / "id_ed25519.pub").well()

    def __call__(self, *words: str | Path) -> Done:
        return self.admin("admin", *words, "--data", self.data)
