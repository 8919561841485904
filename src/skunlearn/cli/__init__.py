"""The command line, one file a command: it parses options, calls a workflow and prints the result.

Only this package imports typer and rich.
"""
