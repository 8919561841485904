"""The command line: one file per command: parse, call, print. Only here typer and rich are
known."""
