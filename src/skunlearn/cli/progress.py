"""Progress of long work on the terminal: bars, or a line now and then."""

import sys
import time
from typing import Any

from skunlearn.utils.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


class Lines(Progress):
    """Plain lines, a few a minute, for pipes and logs."""

    def __init__(self) -> None:
        self.name, self.total, self.began, self.told = "", 0, 0.0, 0.0

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def start(self, name: str, total: int) -> None:
        self.name, self.total, self.began, self.told = (
            name,
            total,
            time.monotonic(),
            time.monotonic(),
        )
        self.note(f"{name} ...")

    def step(self, done: int, **info: float | str) -> None:
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES or done == self.total:
            self.told = now
            left = (now - self.began) / max(done, 1) * (self.total - done)
            self.note(f"{self.name}: {done}/{self.total} {_values(info)} {left:.0f} s left")


class Bars(Progress):
    """A bar with values and the time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Display

        self.console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.make = lambda: Display(
            *columns, TextColumn("{task.fields[info]}"), console=self.console
        )
        self.display: Any = None
        self.task: Any = None

    def note(self, text: str) -> None:
        self.console.print(text, markup=False)

    def start(self, name: str, total: int) -> None:
        self.stop()
        self.display = self.make()
        self.display.start()
        self.task = self.display.add_task(name, total=total, info="")

    def step(self, done: int, **info: float | str) -> None:
        self.display.update(self.task, completed=done, info=_values(info))

    def stop(self) -> None:
        if self.display:
            self.display.stop()
            self.display = None


def terminal_progress() -> Progress:
    """Bars when standard error is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()


def _values(info: dict[str, float | str]) -> str:
    return " ".join(
        f"{name} {v:.3f}" if isinstance(v, float) else f"{name} {v}" for name, v in info.items()
    )
