"""How long work tells what it is doing: silent here, bars or lines in `cli/`."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")


class Progress:
    """The silent one. A subclass shows what it is told."""

    def note(self, text: str) -> None:
        """One line about what happens next or was found."""

    def start(self, name: str, total: int) -> None:
        """Work of `total` steps begins."""

    def step(self, done: int, **info: float | str) -> None:
        """`done` steps of the work begun last are finished; `info` is shown beside."""

    def stop(self) -> None:
        """The work begun last has ended."""

    def over(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items one by one, with a step told after each."""
        total = len(items) if isinstance(items, Sized) else 0
        self.start(name, total)
        try:
            for done, item in enumerate(items, start=1):
                yield item
                self.step(done)
        finally:
            self.stop()
