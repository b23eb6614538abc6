"""Eight processes pull one model into one store: the network carries it once, also when one is killed."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultplan import Link
from faultproxy import FaultProxy
from house import House
from invariants import check_store
from peers import free_port
from person import Ferry
from stored_models import put_model

MB = 1_000_000
SIZE = 24 * MB
RATE = 12 * MB  # bytes a second


@pytest.mark.parametrize("kills", [0, 1])
def test_eight_processes_fetch_each_blob_once(
    kills: int, people: Callable[[str], Ferry], tmp_path: Path
) -> None:
    ada = people("ada")
    (tmp_path / "host").mkdir()
    with FaultProxy(link=Link(total=RATE)) as proxy:
        far = f"127.0.0.1:{proxy.port}"
        opened = House(Ferry(tmp_path / "host"), "--public-url", f"http://{far}")
        port = free_port()
        opened.host = f"127.0.0.1:{port}"
        proxy.upstream = ("127.0.0.1", port)
        opened.open()
        try:
            opened.welcome(ada, "ada")
            raw = put_model(ada.models, f"{far}/ada/together-{kills}/1", os.urandom(SIZE))
            ada("push", f"{far}/ada/together-{kills}:1").well()
            before = proxy.stats.down
            store = tmp_path / "models"
            words = ("pull", f"{far}/ada/together-{kills}:1", "--models", store)
            with contextlib.ExitStack() as files:
                logs = [files.enter_context((tmp_path / f"log-{n}").open("w")) for n in range(8)]
                runs = [ada.begin(*words, stderr=log) for log in logs]
            time.sleep(1.2)
            for run in runs[:kills]:
                run.kill()
            for run in runs:
                run.wait(60)
                assert run.stdout is not None
                run.stdout.close()
            said = [(tmp_path / f"log-{n}").read_text() for n in range(8)]
            moved = proxy.stats.down - before
        finally:
            opened.close()

    assert [run.returncode for run in runs[kills:]] == [0] * (8 - kills), said
    leaders = {int(number) for text in said for number in re.findall(r"following process (\d+), which", text)}
    assert leaders and leaders <= {run.pid for run in runs}
    check_store(store, {f"{far}/ada/together-{kills}/1": [raw]})
    assert moved <= (1 + kills) * SIZE + MB, f"{moved} bytes for {SIZE}"
