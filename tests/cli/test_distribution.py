"""Ferry says which it is, to people and to registries, and what its former name left behind."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from person import ROOT, Ferry
from spy import Spy, reply


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_its_version_is_that_of_its_distribution(ferry: Ferry, words: tuple[str, ...]) -> None:
    assert ferry(*words).well().out.startswith(f"ferry {version('ferry-registry')} (Python 3.")


def test_a_registry_is_told_name_and_version(ferry: Ferry) -> None:
    with Spy((reply(404),)) as spy:
        ferry("pull", f"{spy.netloc}/acme/tiny")
    assert spy.seen
    assert {seen.header("User-Agent") for seen in spy.seen} == {f"ferry-registry/{version('ferry-registry')}"}


def installed(folder: Path, program: str) -> str:
    """A folder in which a distribution `modelferry` with this program lies, for PYTHONPATH."""
    about = folder / "modelferry-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: modelferry\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(f"[console_scripts]\n{program}\n")
    return f"{ROOT}:{folder}"


def test_the_former_distribution_is_told_of_in_one_line(ferry: Ferry, tmp_path: Path) -> None:
    path = installed(tmp_path, "ferry = cli.main:main")
    done = ferry("version", PYTHONPATH=path).well()
    assert done.err.count("\n") == 1
    assert "pip uninstall modelferry" in done.err
    assert ferry("version").well().err == ""


def test_somebody_elses_package_of_that_name_is_none_of_our_business(ferry: Ferry, tmp_path: Path) -> None:
    path = installed(tmp_path, "modelferry = modelferry.app:run")
    assert ferry("version", PYTHONPATH=path).well().err == ""
