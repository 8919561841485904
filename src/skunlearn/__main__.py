"""`python -m skunlearn` is the same as `skunlearn`."""

from skunlearn.cli.main import main

main()
