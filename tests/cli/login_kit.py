"""A person at a pretended registry with accounts, and what docker knows of it."""

from __future__ import annotations

import json
from pathlib import Path

from person import Ferry


def toml_of(person: Ferry) -> Path:
    return person.home / ".config" / "ferry" / "credentials.toml"


def docker(person: Ferry, document: dict[str, object]) -> Path:
    path = person.home / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def put_helper(person: Ferry, known: dict[str, tuple[str, str]] | None = None) -> Path:
    """A credential helper that keeps what it is told in a folder, as docker's do in a keychain."""
    folder = person.home / "keychain"
    folder.mkdir(exist_ok=True)
    for host, (user, secret) in (known or {}).items():
        (folder / host.replace(":", "_")).write_text(
            json.dumps({"ServerURL": host, "Username": user, "Secret": secret})
        )
    program = person.home / "bin" / "docker-credential-test"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        "#!/usr/bin/env python3\nimport json, pathlib, sys\n"
        f"folder = pathlib.Path({str(folder)!r})\ntext = sys.stdin.read().strip()\n"
        "host = json.loads(text)['ServerURL'] if sys.argv[1] == 'store' else text\n"
        "path = folder / host.replace(':', '_')\n"
        "if sys.argv[1] == 'store': path.write_text(text)\n"
        "elif not path.exists(): sys.exit('credentials not found in native keychain')\n"
        "elif sys.argv[1] == 'erase': path.unlink()\n"
        "else: print(path.read_text())\n"
    )
    program.chmod(0o755)
    return folder
