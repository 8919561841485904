"""The peak of a process's memory while a block runs."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS_BETWEEN_SAMPLES = 0.05
STATUS = Path("/proc/self/status")


@dataclass
class PeakMemory:
    """Resident memory of the whole process, libraries and earlier work included, GPUs excluded.

    Attributes:
        peak: the largest amount, in bytes. On Linux it is exact where it is the highest of the
            process so far. Otherwise it is sampled, and a peak between two samples is missed.
    """

    peak: int = 0


def high_water() -> int:
    """Peak resident memory of this process so far, in bytes; 0 where the system is not Linux.

    `getrusage` will not do: its peak is inherited from the parent process.
    """
    if not STATUS.exists():
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """A block whose resident memory is sampled by a thread beside it.

    Yields:
        The peak so far; final when the block has ended.
    """
    memory = PeakMemory()
    process = psutil.Process()
    ended = threading.Event()
    before = high_water()

    def sample() -> None:
        while True:
            memory.peak = max(memory.peak, process.memory_info().rss)
            if ended.wait(SECONDS_BETWEEN_SAMPLES):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
        # A peak of the process that rose during the block was reached in it: it is exact.
        after = high_water()
        if after > before:
            memory.peak = after
