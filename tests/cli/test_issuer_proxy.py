"""`ferry serve` reaches those who sign ID tokens through the proxy that its environment or settings name."""

from __future__ import annotations

import io
import ssl
from pathlib import Path

import pytest
from certificates import write_certificate
from identity_provider import DISCOVERY, KEYS, Provider
from spy import Seen, Spy, Talk, reply

from cli import settings
from cli.options import Invocation
from cli.render import Terminal
from cli.sources import to_issuers
from registry.server.issuers import Issuer, Issuers


@pytest.mark.parametrize("said", ["environment", "settings"])
def test_an_issuers_keys_come_through_the_proxy(said: str, tmp_path: Path) -> None:
    write_certificate(tmp_path, "ci.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    provider = Provider("https://ci.example")

    def tunnel(talk: Talk, seen: Seen) -> None:
        assert seen.line.startswith(b"CONNECT ci.example:443 ")
        talk.send(b"HTTP/1.0 200 connected\r\n\r\n")
        talk.encrypt(tls)

    answers = [reply(200, provider.answer(path, "")[1]) for path in (DISCOVERY, KEYS)]
    with Spy((tunnel, *answers)) as proxy:
        environ = {"HOME": str(tmp_path)}
        if said == "environment":
            environ["HTTPS_PROXY"] = proxy.url
        else:
            place = tmp_path / ".config" / "ferry" / "settings.toml"
            place.parent.mkdir(parents=True)
            place.write_text(f'[host."ci.example"]\nproxy = "{proxy.url}"\n')
        terminal = Terminal(io.StringIO(), io.StringIO(), json=False)
        reached = to_issuers(Invocation(settings.resolve({}, environ), terminal))
        told: list[str] = []
        issuers = Issuers(reached, lambda: 0.0, told.append)
        issuer = Issuer(provider.url, (tmp_path / "cert.pem").read_text())
        issuers.look([issuer])
        issuers.wait()
        token = provider.token("http://registry.example", 1_000.0)
        assert issuers.verified(token, issuer, 1_000.0).issuer == provider.url
        assert len(proxy.seen) == 3
