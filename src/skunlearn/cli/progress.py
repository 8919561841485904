"""Progress of long work on standard error: bars on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from skunlearn.utils.printable import printable, raw_stream
from skunlearn.utils.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


class Lines(Progress):
    """Plain lines, a few a minute, for pipes and logs."""

    def __init__(self) -> None:
        self.name = ""
        self.total = 0
        self.began = 0.0  # seconds of a monotonic clock
        self.last_line = 0.0

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def start(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        self.began = time.monotonic()
        self.last_line = self.began
        self.note(f"{name} ...")

    def step(self, done: int, **info: float | str) -> None:
        now = time.monotonic()
        is_due = now - self.last_line >= SECONDS_BETWEEN_LINES
        if not is_due and done != self.total:
            return
        self.last_line = now
        seconds_left = (now - self.began) / max(done, 1) * (self.total - done)
        self.note(f"{self.name}: {done}/{self.total} {_values(info)} {seconds_left:.0f} s left")


class Bars(Progress):
    """A bar with values and the time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(file=raw_stream(sys.stderr), highlight=False)
        self.display: Any = None  # the bar that is shown now
        self.task: Any = None

    def note(self, text: str) -> None:
        self.console.print(printable(text), markup=False)

    def start(self, name: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Display

        self.stop()
        self.display = Display(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}"),
            console=self.console,
        )
        self.display.start()
        self.task = self.display.add_task(_bar_text(name), total=total, info="")

    def step(self, done: int, **info: float | str) -> None:
        self.display.update(self.task, completed=done, info=_bar_text(_values(info)))

    def stop(self) -> None:
        if self.display:
            self.display.stop()
            self.display = None


def _bar_text(text: str) -> str:
    """A text beside a bar, in which nothing is markup and nothing is an order to the terminal."""
    from rich.markup import escape

    return escape(printable(text))


def terminal_progress() -> Progress:
    """Return bars when standard error is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()


def _values(info: dict[str, float | str]) -> str:
    """Return the values that are shown beside the progress, floats with three digits."""
    texts = []
    for name, value in info.items():
        texts.append(f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}")
    return " ".join(texts)
