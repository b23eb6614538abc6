"""`python -m cli` is `ferry`."""

from cli.main import main

main()
