"""What the README says about running a registry for years works as it stands there."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import write_certificate
from house import House
from peers import ferry_command, find, free_port, http_call, running
from person import Ferry
from shell import ROOT, bash, put_ferry
from stored_models import put_model
from test_readme import recipe
from waiting import until

README = (ROOT / "README.md").read_text()
CLIENT = "127.0.0.5"  # another loopback address than the proxy's


def block(kind: str) -> str:
    """The block of that kind in the README's section about years."""
    section = README.partition("### … and for years")[2]
    [text, *_] = re.findall(rf"^```{kind}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(text)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"the README does not say {old}"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Site:
    """A registry as the README has it set up: nginx at `front`, metrics at `metrics`, the log at `log`."""

    front: str
    metrics: str
    log: Path
    ca: Path
    data: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    nginx = find("nginx")
    place = tmp_path_factory.mktemp("site")
    write_certificate(place)
    behind, front, metrics = (f"127.0.0.1:{free_port()}" for _ in range(3))
    [start] = re.findall(r"^ExecStart=(.*)", block("ini").replace("\\\n", " "), re.MULTILINE)
    command = shlex.split(
        replaced(
            start,
            ("/opt/ferry/bin/ferry", shlex.join(ferry_command())),
            ("/srv/ferry", str(place / "data")),
            ("127.0.0.1:5050", behind),
            ("https://models.acme.example", f"https://{front}"),
            ("127.0.0.1:9464", metrics),
        )
    )
    config = replaced(
        block("nginx"),
        ("127.0.0.1:5050", behind),
        ("listen 443 ssl", f"listen {front} ssl"),
        ("/etc/ssl/models.pem", str(place / "cert.pem")),
        ("/etc/ssl/models.key", str(place / "key.pem")),
    )
    temporary = "".join(
        f"{each}_temp_path {place}/{each};\n" for each in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (place / "nginx.conf").write_text(
        f"{user}daemon off;\npid {place}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{config}}}\n"
    )
    proxy = [nginx, "-p", str(place), "-c", str(place / "nginx.conf"), "-e", "stderr"]
    log = place / "log"
    healthy = lambda: http_call("GET", f"http://{behind}/healthz").status == 200  # noqa: E731
    with running(command, log, healthy), running(proxy, place / "proxy.log", lambda: asked(front, place)):
        yield Site(front, f"http://{metrics}", log, place / "cert.pem", place / "data")


def asked(front: str, place: Path, path: str = "/healthz", **fields: str) -> bool:
    """Ask over TLS from the client's own address; whether there was an answer."""
    connection = http.client.HTTPSConnection(
        front,
        timeout=20,
        source_address=(CLIENT, 0),
        context=ssl.create_default_context(cafile=place / "cert.pem"),
    )
    try:
        connection.request(
            "GET", path, headers={key.replace("_", "-"): value for key, value in fields.items()}
        )
        connection.getresponse().read()
        return True
    finally:
        connection.close()


def test_a_model_goes_in_and_out_through_nginx_as_the_readme_has_it(site: Site, ferry: Ferry) -> None:
    assert ferry("signin", f"https://{site.front}", "--tls-ca", site.ca, "--give-up-after", "0").code == 4
    public = ferry.home / ".ollama" / "id_ed25519.pub"
    ferry("admin", "user", "add", "ada", "--key", public, "--data", site.data).well()
    name = f"https://{site.front}/ada/tiny:1"
    put_model(ferry.models)

    ferry("push", "tiny", name, "--tls-ca", site.ca).well()
    ferry("rm", "tiny").well()
    ferry("pull", name, "--tls-ca", site.ca).well()

    lines = [json.loads(line) for line in site.log.read_text().splitlines() if line.startswith("{")]
    pushed = [line for line in lines if line.get("method") == "PUT" and line["route"] == "manifest"]
    assert [(line["user"], line["repository"], line["status"]) for line in pushed] == [
        ("ada", "ada/tiny", 201)
    ]


def test_the_log_behind_nginx_names_the_client_whatever_it_says_of_itself(site: Site) -> None:
    assert asked(site.front, site.ca.parent, "/v2/who-asks", X_Forwarded_For="6.6.6.6")
    until(lambda: "/v2/who-asks" in site.log.read_text())
    [line] = [json.loads(line) for line in site.log.read_text().splitlines() if "/v2/who-asks" in line]
    assert (line["peer"], line["address"]) == ("127.0.0.1", CLIENT)
    assert len(line["id"]) == 32, "nginx's own identifier"


def test_the_metrics_that_the_readme_names_are_there(site: Site) -> None:
    text = http_call("GET", f"{site.metrics}/metrics").body.decode()
    table = README.partition("| metric | what it tells |")[2].partition("\n\n")[0]
    names = set(re.findall(r"`(ferry_[a-z_]+)`", table))
    assert len(names) > 15
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert not {name for name in names if name not in known and name.removesuffix("_total") not in known}


def test_a_registry_is_kept_and_brought_back_as_the_readme_has_it(ferry: Ferry, tmp_path: Path) -> None:
    house = House(ferry).open()
    house.welcome(ferry, "ada")
    house("user", "add", "grace").well()
    house("grant", "grace", "ada", "read").well()
    name = f"{house.host}/ada/tiny:1"
    put_model(ferry.models)
    ferry("push", "tiny", name).well()
    backups = tmp_path / "backups"
    backups.mkdir()
    env = {
        "HOME": str(ferry.home),
        "PATH": f"{put_ferry(tmp_path / 'bin')}:/usr/bin:/bin",
        "BACKUPS": str(backups),
        "DIR": str(house.data),
    }
    bash(recipe("years"), ferry.home, env).check_returncode()
    house("grant", "grace", "ada", "none").well()
    (backups / "revocations").write_bytes((house.data / "revocations").read_bytes())  # it is there already
    assert house.close() == 0
    shutil.rmtree(house.data)

    restored = bash(recipe("years-restore"), ferry.home, env)

    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "withdrawn since, and now again: grant grace none ada" in restored.stdout
    house.open()
    assert house("grant", "list", "--format", "json").json == [
        {"user": "grace", "scope": "ada", "right": "none"}
    ]
    ferry("rm", "tiny").well()
    time.sleep(1 - time.time() % 1)  # what was signed in the second of a restore, or before, is refused
    ferry("pull", name).well()
    assert house.close() == 0


@pytest.fixture
def with_certificate(tmp_path: Path) -> Iterator[tuple[str, int, Path]]:
    """A registry with a certificate of its own: where it is, its process, its log."""
    write_certificate(tmp_path, until=0.1)
    host = f"127.0.0.1:{free_port()}"
    command = [*ferry_command(), "serve", "--data", str(tmp_path / "data"), "--listen", host]
    command += ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with running(command, tmp_path / "log", lambda: bool(shown(host))) as process:
        yield host, process.pid, tmp_path / "log"


def shown(host: str) -> str:
    """The certificate that a new connection is shown."""
    address, _, port = host.rpartition(":")
    return ssl.get_server_certificate((address, int(port)), timeout=20)


def test_sighup_reads_the_certificate_again_and_a_bad_one_changes_nothing(
    with_certificate: tuple[str, int, Path], tmp_path: Path
) -> None:
    host, process, log = with_certificate
    first = shown(host)
    until(lambda: "cert.pem is good until" in log.read_text())  # its end is near
    write_certificate(tmp_path)

    os.kill(process, signal.SIGHUP)

    until(lambda: shown(host) != first)
    second = shown(host)
    assert second == (tmp_path / "cert.pem").read_text()
    (tmp_path / "cert.pem").write_text("no certificate")
    os.kill(process, signal.SIGHUP)
    until(lambda: "the old certificate stays" in log.read_text())
    assert shown(host) == second


def test_sighup_without_a_certificate_is_said_and_ends_nothing(ferry: Ferry) -> None:
    house = House(ferry).open()
    try:
        house.signal(signal.SIGHUP)
        until(lambda: "no certificate to read again" in house.log)
    finally:
        code = house.close()
    assert code == 0
