"""Where a broken world is built: a person's home, and servers that break in one way each."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from house import House
from sample_models import Model
from spy import Script, Seen, Spy, Talk, reply

from registry.auth.keys import ensure_key

Words = tuple[str, ...]


@dataclass
class Kit:
    """Where a world is built: a person's home, and servers that end with the test."""

    home: Path
    house: House  # a real registry with accounts: ada's model `doctor-ada/tiny` is in it
    people: dict[str, str]  # by name, the text of each one's key there
    certificates: dict[str, Path]  # folders with `cert.pem` and `key.pem`
    front: str  # nginx, before a real registry and before `house`
    stack: ExitStack
    environ: dict[str, str] = field(default_factory=lambda: {"FERRY_STALL": "0.4"})

    @property
    def tiny(self) -> str:
        return f"{self.house.host}/doctor-ada/tiny"

    def be(self, name: str) -> None:
        """Be somebody with a key there."""
        self.environ["FERRY_KEY"] = self.people[name]

    def make_key(self) -> Path:
        """A key that nobody knows."""
        path = self.home / ".ollama" / "id_ed25519"
        ensure_key(path, bytes(range(32)))
        return path

    def spy(self, *scripts: Script, tls: str = "") -> Spy:
        context = self.context(tls) if tls else None
        return self.stack.enter_context(Spy(scripts, tls=context))

    def context(self, name: str) -> ssl.SSLContext:
        folder = self.certificates[name]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context

    def trust(self, name: str) -> Words:
        return ("--tls-ca", str(self.certificates[name] / "cert.pem"))

    def through(self, certificate: str, answer: Script) -> None:
        """A proxy that is every host itself, under TLS with this certificate."""

        def script(talk: Talk, seen: Seen) -> None:
            talk.body(seen)
            if seen.method == "CONNECT":
                talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
                talk.encrypt(self.context(certificate))
            elif callable(answer):
                answer(talk, seen)
            else:
                talk.send(answer)

        self.environ["HTTPS_PROXY"] = f"http://{self.spy(script).netloc}"


def asks_for_a_token(realm: str = "{}/token", **more: str) -> Callable[[Talk, Seen], None]:
    """A registry that wants a token, and gives one at its own place."""

    def script(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if seen.target.startswith("/token"):
            talk.send(reply(200, more.get("token", '{"token":"t"}').encode()))
        elif seen.header("Authorization"):
            talk.send(reply(200, b"{}"))
        else:
            told = f'Bearer realm="{realm.format(talk.spy.url)}",service="s"'
            talk.send(reply(401, WWW_Authenticate=told, Date=more.get("date", formatdate(usegmt=True))))

    return script


MODEL = Model.of(bytes(200_000))


def holds_a_model(flaw: str = "") -> Callable[[Talk, Seen], None]:
    """A registry that anybody may read, with one model: `no ranges`, `missing` or `damaged`."""
    config = MODEL.manifest.config
    assert config is not None

    def script(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if "/manifests/" in seen.target:
            talk.send(reply(200, MODEL.manifest.raw, Content_Type=MODEL.manifest.media_type))
            return
        digest, data = next(pair for pair in MODEL.blobs.items() if seen.target.endswith(str(pair[0])))
        if flaw == "missing" and digest != config.digest:
            talk.send(reply(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}'))
        elif flaw == "damaged" and digest == config.digest:
            talk.send(reply(200, data[:-1] + b"\x00"))
        elif (wanted := seen.header("Range")) and flaw != "no ranges":
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            told = f"bytes {first}-{last}/{len(data)}"
            talk.send(reply(206, data[first : last + 1], Content_Range=told))
        else:
            talk.send(reply(200, data))

    return script


def takes_uploads(begun: int = 202, sent: int = 202) -> Callable[[Talk, Seen], None]:
    """A registry without models that answers so to what begins an upload, and to what is sent of one."""
    denied = b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}'

    def script(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        answers = {"POST": (begun, "?state=1"), "PATCH": (sent, "?state=2"), "DELETE": (204, "")}
        status, state = answers.get(seen.method, (404, ""))
        where = {"Location": f"/v2/acme/tiny/blobs/uploads/u{state}"} if state else {}
        talk.send(reply(status, denied if status == 403 else b"", **where))

    return script


def silence(talk: Talk, _seen: Seen) -> None:
    talk.wait(30)
