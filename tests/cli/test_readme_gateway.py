"""What the README says about cloud models for local programs works as it stands, but for where they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from peers import find, free_port, running
from person import FERRY, Ferry
from pretend_cloud import Cloud
from shell import ROOT, bash
from test_readme import recipe

from registry.auth.keys import ensure_key

README = (ROOT / "README.md").read_text()
PORT = "127.0.0.1:11436"


def event(word: str) -> bytes:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-oss:120b"}
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


def test_cloud_models_for_local_programs(ferry: Ferry) -> None:
    ollama = Path(find("ollama")).parent
    key = ensure_key(ferry.home / ".ollama" / "id_ed25519", bytes(range(32)))
    start, *asking = recipe("cloud").splitlines(keepends=True)
    [python] = re.findall(r"^```python run=cloud\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    here = f"127.0.0.1:{free_port()}"
    assert start.split("#")[0].split() == ["ferry", "gateway", "&"]
    assert PORT in start
    with Cloud(keys={key.public.text}) as cloud:
        command = [*FERRY, "gateway", "--listen", here, "--to", cloud.spy.url]
        log = ferry.home / "log"
        with running(command, log, lambda: "ready on" in log.read_text(), ferry.env()):
            env = {**ferry.env(), "PATH": f"{ollama}:{os.environ['PATH']}"}
            said = bash("".join(asking).replace(PORT, here), ferry.home, env).stdout
            assert said.startswith("Good morning")
            assert '"model": "gpt-oss:120b"' in said
            cloud.answers["/v1/chat/completions"] = [event("Good"), event(" evening"), b"data: [DONE]\n\n"]
            script = python.replace(PORT, here)
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
            assert (done.stdout, done.returncode) == ("Good evening", 0), done.stderr
        shown = re.search(
            r"^2026-\S+ (POST /v1/chat/completions gpt-oss:120b-cloud) 200 \d+>\d+ \S+s$", README, re.M
        )
        assert shown
        assert shown[1] in log.read_text()
