"""How much memory this process held while something ran, and how long it holds what is free."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS_BETWEEN_LOOKS = 0.05
STATUS = Path("/proc/self/status")


@dataclass
class PeakMemory:
    """Resident memory of the whole process: libraries, and what earlier work left, are in it; a
    GPU's own is not.

    Attributes:
        peak: the most that was seen, bytes. Exact on Linux where it is the process's highest so
            far; elsewhere, a rise and fall between two looks is missed.
    """

    peak: int = 0


def high_water() -> int:
    """Peak resident bytes of this process so far; 0 where the system is not Linux (`getrusage`
    counts the parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Look at the resident memory until the block ends."""
    seen, process, ended, before = PeakMemory(), psutil.Process(), threading.Event(), high_water()

    def look() -> None:
        while True:
            seen.peak = max(seen.peak, process.memory_info().rss)
            if ended.wait(SECONDS_BETWEEN_LOOKS):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        if (now := high_water()) > before:
            seen.peak = now
