"""How much memory this process held while something ran."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

SECONDS_BETWEEN_LOOKS = 0.05


@dataclass
class Resident:
    """Resident memory of the whole process: libraries, and what earlier work left, are in it; a GPU's own is not.

    Attributes:
        peak: the most that was seen, bytes; a rise and fall between two looks is missed.
    """

    peak: int = 0


@contextlib.contextmanager
def resident() -> Iterator[Resident]:
    """Look at the resident memory until the block ends."""
    seen, process, ended = Resident(), psutil.Process(), threading.Event()

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
