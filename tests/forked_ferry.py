"""`ferry` for a shell: has it run by the process of forked.py, and is as long as that, and ends as that does.

    python -I -S forked_ferry.py SOCKET ARGUMENTS…

The run has the streams, the environment and the directory of this process, and is told its signals. Beside
the modules of Python that are here it imports nothing: it is started some hundred times.
"""

import json
import os
import signal
import socket
import sys

LENGTH = 8  # bytes in front of a request


def main(path: str, *words: str) -> int:
    asked = {"words": words, "env": dict(os.environ), "cwd": os.getcwd(), "alone": False}  # noqa: PTH109 - see above
    request = json.dumps({**asked, "script": ""}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [len(request).to_bytes(LENGTH, "big")], [0, 1, 2])
        connection.sendall(request)
        with connection.makefile("rb") as said:
            process = int(said.readline())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda number, _: os.kill(process, number))
            code = int(said.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
