"""Memory that the C library keeps between steps instead of returning it to the system."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

# Settings of glibc's `mallopt`, from <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
# The values that glibc reaches by itself in a process with large allocations.
DEFAULTS = {M_TRIM_THRESHOLD: 64 << 20, M_MMAP_THRESHOLD: 32 << 20, M_MMAP_MAX: 65536}


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """A block in which the C library keeps freed memory for the next allocation.

    Otherwise each large tensor is new memory, which the system clears page by page. This can take a
    large part of a training step. At the end of the block all free memory is returned. Nothing
    happens where the C library is not glibc.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for setting, value in DEFAULTS.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)
