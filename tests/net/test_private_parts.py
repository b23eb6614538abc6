"""What urllib3 does not promise and is used all the same: in one file, listed, and there in every version.

The newest urllib3 is the one that the tests are run with; the oldest is fetched once.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from registry.net.pools import PRIVATE

ROOT = Path(__file__).resolve().parents[2]
NET = ROOT / "registry" / "net"
INSIDE = "FERRY_TESTS_OTHER_URLLIB3"
# Enough to meet every line of registry/net/pools.py; the rest of this room would only wait.
CASES = "byte_for_byte or a_connection or proxy or ca_is or arrives_whole or is_heard or closes_the"


def oldest() -> str:
    """The oldest urllib3 that pyproject.toml allows."""
    wanted: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (found,) = (match[1] for line in wanted if (match := re.match(r"urllib3>=([0-9.]+),<3$", line)))
    return found


def fetched(wanted: str, cache: Path) -> Path:
    """A directory with that urllib3, or a skip that says why there is none."""
    home = cache / f"urllib3-{wanted}"
    if not home.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command = [*pip, "--dest", str(cache / "wheels"), f"urllib3=={wanted}"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list((cache / "wheels").glob(f"urllib3-{wanted}-*.whl"))
        if done.returncode or not wheels:
            pytest.skip(f"urllib3 {wanted} cannot be had: {(done.stderr.strip() or 'no wheel')[-200:]}")
        scratch = cache / f"urllib3-{wanted}.{os.getpid()}"
        zipfile.ZipFile(wheels[0]).extractall(scratch)
        scratch.rename(home)
    return home


@pytest.mark.skipif(INSIDE in os.environ, reason="this is the inner run")
def test_the_oldest_urllib3_will_do(tmp_path: Path) -> None:
    cache = Path(os.environ.get("FERRY_TESTS_CACHE") or tmp_path)
    wanted = oldest()
    home = fetched(wanted, cache)
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", CASES]
    files = [__file__, *(str(Path(__file__).with_name(f"test_{name}.py")) for name in ("http", "uploads"))]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env={**os.environ, "PYTHONPATH": str(home), INSIDE: wanted},
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_this_is_the_urllib3_that_was_meant() -> None:
    assert version("urllib3") == os.environ.get(INSIDE, version("urllib3"))


def test_what_is_listed_is_there() -> None:
    things = {"urllib3.connection.HTTPConnection": HTTPConnection("127.0.0.1", 1)}
    assert things.keys() == PRIVATE.keys()
    for name, parts in PRIVATE.items():
        assert all(hasattr(things[name], part) for part in parts)


def test_one_file_touches_private_parts() -> None:
    """Of others: what begins with one underscore, and is not looked up in `self` or `cls`."""
    touched = {
        (path.name, node.attr)
        for path in NET.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    assert touched == set()
    listed = {part for parts in PRIVATE.values() for part in parts}
    source = (NET / "pools.py").read_text()
    assert all(part in source for part in listed) and "_new_conn" in listed
