"""An ID token is spent once, whatever process it comes to: two that spend the same ones at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from data_directory import prepared

from registry.server.registry import Registry

TOKENS = 60

# Each process spends all of them, in an order of its own, and says how many it got.
SPEND = """
import random, sys
from pathlib import Path
from registry.contracts import Actor
from registry.errors import DeniedError
from registry.server.id_tokens import IdToken
from registry.server.registry import Registry

registry = Registry.open(Path(sys.argv[1]))
names = [f"jti-{number}" for number in range(int(sys.argv[2]))]
random.Random(int(sys.argv[3])).shuffle(names)
sys.stdin.read(1)
got = 0
for name in names:
    token = IdToken("https://ci.example", "job", name, "here", 0.0 + 10, 2e9, {})
    try:
        registry.publishers.spend(token, Actor(), ["acme/tiny"])
        got += 1
    except DeniedError:
        pass
print(got)
"""


def test_of_two_processes_that_spend_a_token_one_is_refused(tmp_path: Path) -> None:
    data = prepared(tmp_path / "data")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, str(data), str(TOKENS), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("g")
        each.stdin.flush()
    got = [int(each.communicate(timeout=60)[0]) for each in processes]
    assert sum(got) == TOKENS
    registry = Registry.open(data)
    with registry.depot.engine.connect() as database:
        written = database.exec_driver_sql("SELECT count(*) FROM audit WHERE action = 'publisher.exchange'")
        assert written.scalar() == TOKENS
    registry.close()
