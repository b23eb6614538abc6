"""Runs one command and writes what it cost, as JSON: `launch.py REPORT STDOUT COMMAND…`.

A process of its own, started without site packages, because a child's peak memory is never reported below
that of the process that forked it: this one has about 10 MiB.
"""

import os
import sys
import time


def main() -> int:
    out, stdout, *command = sys.argv[1:]
    actions = [(os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)]
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    with open(out, "w") as file:  # noqa: PTH123 - pathlib would cost memory and time here
        file.write(
            f'{{"seconds": {seconds:.6f}, "code": {code}, "rss_kib": {usage.ru_maxrss},'
            f' "user": {usage.ru_utime:.6f}, "system": {usage.ru_stime:.6f}}}'
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
