"""Where `ferry`, and `python -m cli`, begin.

Until there is somebody to say something (`cli.exits`), Ctrl-C ends the process as it ends any other: without
a traceback of what was being imported.
"""

import gc
import signal

# More objects than a start makes: all of them stay, and to look for cycles among them takes 15 ms.
gc.set_threshold(100_000)

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cli.main import main  # noqa: E402 - what stands before it is about this import

if __name__ == "__main__":
    main()
