"""A forked run ends when it has had its time, as one that is started does."""

from __future__ import annotations

import subprocess
import time

import forked
import pytest
from person import Ferry

pytestmark = pytest.mark.skipif(not forked.AVAILABLE, reason="nothing is forked here")


@pytest.mark.patience(30)
def test_a_run_that_takes_longer_than_it_may_is_killed(ferry: Ferry) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        ferry("serve", "--data", "data", "--listen", "127.0.0.1:0", seconds=0.2)
    assert time.monotonic() - began < 20, "it would have gone on for ever"
