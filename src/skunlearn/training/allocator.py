"""Freed memory that the C library keeps for the next step."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of <malloc.h>


USUAL = {
    M_TRIM_THRESHOLD: 64 << 20,
    M_MMAP_THRESHOLD: 32 << 20,
    M_MMAP_MAX: 65536,
}  # what glibc comes to by itself


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """A block in which the C library keeps memory that is freed, for the next step that wants as
    much.

    Otherwise every large tensor is new memory, which the system clears page by page: much of a step
    where pages are touched for the first time, little where they are not. At the end all that is
    free goes back. Nothing happens where the C library is not glibc.
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
        for setting, value in USUAL.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)
