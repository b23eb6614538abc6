"""Where `ferry`, and `python -m cli`, begin.

Until there is somebody to say something (`cli.exits`), Ctrl-C ends the process as it ends any other: without
a traceback of what was being imported.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cli.main import main

if __name__ == "__main__":
    main()
