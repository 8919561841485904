"""A lock that another process holds."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = """
import sys
from pathlib import Path
from skunlearn.utils.locks import locked
with locked(Path(sys.argv[1]), "in use by"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process_holds(path: Path) -> Iterator[int]:
    """A block inside which another process has the lock of a file; yields its id."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    try:
        yield process.pid
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
