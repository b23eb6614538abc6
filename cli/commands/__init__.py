"""The commands, by topic: each function says what it does in the words of CLI.md and leaves the doing
to the library."""
