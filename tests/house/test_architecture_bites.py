"""The architecture test can fail: each rule is seen to refuse the line it is there for."""

from __future__ import annotations

import pytest
from test_architecture import circle, complaints

REFUSED = [
    ("registry.transfer.copy", "from registry.targets.store import Store"),
    ("registry.transfer.copy", "import registry.net.http"),
    ("registry.targets.store", "from registry.wire import messages"),
    ("registry.targets.remote", "from registry.auth import session"),
    ("registry.server.app", "from registry.auth.credentials import find"),
    ("registry.server.app", "from registry.targets import memory"),
    ("registry.model.names", "from registry.disk import files"),
    ("registry.contracts", "from registry.wire.messages import Request"),
    ("registry.auth.flow", "from registry.net import http"),
    ("registry.net.http", "from cli import main"),
    ("registry.net.http", "from ..wire import messages"),
    ("registry.auth.session", "import requests"),
    ("registry.auth.session", "def f():\n    from requests.adapters import HTTPAdapter"),
    ("registry.server.app", "import socket"),
    ("registry.server.app", "from http import client"),
    ("registry.targets.store", "from sqlalchemy import select"),
    ("registry.transfer.copy", "from tqdm import tqdm"),
    ("cli.main", "import requests"),
    ("registry.transfer.copy", "print('x')"),
    ("registry.net.http", "import os\nproxy = os.environ.get('HTTPS_PROXY')"),
    ("registry.net.http", "from os import getenv"),
    ("registry.net.http", "import aiohttp"),
    ("registry.net.listener.driver", "from registry.targets import memory"),
    ("registry.server.app", "from registry.net.listener import limits"),
    ("registry.net.listener.driver", "import sys\nsys.exit(1)"),
    ("registry.targets.store", "with open(path, 'rb') as file: pass"),
    ("registry.targets.store", "path.open()"),
    ("registry.targets.store", "path.open('wb')"),
    ("registry.targets.store", "path.open(mode='wb')"),
    ("registry.targets.store", "path.write_text('x')"),
    ("registry.targets.store", "import os\nos.replace(a, b)"),
    ("cli.render", "path.read_text()"),
]
ALLOWED = [
    ("registry.targets.remote", "from registry.wire import messages"),
    ("registry.server.depot", "from registry.auth.signing import verify"),
    ("registry.server.depot", "from registry.server.app import App"),
    ("registry.transfer.copy", "source.open(digest, span)"),
    ("registry.transfer.copy", "text.replace('a', 'b')"),
    ("registry.disk.files", "with open(path, 'rb') as file: pass"),
    ("cli.settings", "path.read_text()"),
    ("cli.main", "import sys\nprint(sys.exit)"),
]


@pytest.mark.parametrize(("module", "source"), REFUSED)
def test_a_line_in_the_wrong_room_is_refused(module: str, source: str) -> None:
    known = [
        "registry.targets.memory",
        "registry.auth.session",
        "registry.wire.messages",
        "registry.net.http",
    ]
    assert complaints(module, source, known) != []


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_a_line_in_its_own_room_is_allowed(module: str, source: str) -> None:
    assert complaints(module, source, []) == []


def test_a_circle_of_imports_is_seen_also_inside_functions() -> None:
    a = "from registry.wire import b"
    b = "def late():\n    from registry.wire.c import thing"
    c = "import registry.wire.a"
    modules = {"registry.wire": "", "registry.wire.a": a, "registry.wire.b": b, "registry.wire.c": c}
    assert set(circle(modules)) == {"registry.wire.a", "registry.wire.b", "registry.wire.c"}
