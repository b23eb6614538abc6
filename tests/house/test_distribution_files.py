"""What is installed is whole: beside the modules, the pages' templates, stylesheet and script."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = (
    "-c",
    "import setuptools; setuptools.setup()",
    "build_py",
    "--build-lib",
)  # what a wheel is filled with


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_every_file_of_the_packages_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="this environment has no setuptools to build with")
    tree, built = tmp_path / "tree", tmp_path / "built"
    for package in ("registry", "cli"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    expected = files(tree)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, tree / file)

    subprocess.run([sys.executable, *BUILD, built], cwd=tree, check=True, capture_output=True)

    assert "registry/server/pages/templates/connect.html" in expected
    assert files(built) == expected
