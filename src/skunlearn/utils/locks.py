"""A file that one process at a time may hold; the system frees it when the process ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skunlearn.utils.errors import RunError
from skunlearn.utils.files import NO_LINK, PRIVATE_FILE

# What a process holds, by the file's real path. It may take a lock again that it has.
_held: set[Path] = set()


@contextmanager
def locked(path: Path, in_use: str) -> Iterator[None]:
    """A block inside which no other process has the lock of a file.

    Args:
        path: the file, which is made when it is not there. It holds the id of the process.
        in_use: the beginning of the error; the id of the process that has the lock follows.

    Raises:
        RunError: when another process has it.
    """
    real = path.parent.resolve() / path.name
    if real in _held:
        yield
        return
    descriptor = _taken(path, in_use)
    _held.add(real)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        _held.discard(real)
        _free(path, descriptor)


def _taken(path: Path, in_use: str) -> int:
    """An open file that this process has locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, PRIVATE_FILE)
        try:
            _lock(descriptor)
        except OSError as error:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip() or "?"
            os.close(descriptor)
            raise RunError(f"{in_use} {owner}: wait for it or choose another --out") from error
        # The process before may have removed the file between opening and locking.
        if _is_still_there(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30  # the byte that is locked: Windows lets nobody read a locked one

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

    def _free(path: Path, descriptor: int) -> None:
        os.close(descriptor)  # Windows removes no file that is open, so the file stays

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _free(path: Path, descriptor: int) -> None:
        path.unlink(missing_ok=True)  # before the lock is freed: nobody else has it then
        os.close(descriptor)
