"""How long work reports its progress: silently here, with bars or lines in `cli/progress.py`."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")


class Progress:
    """The silent progress. A subclass shows what is reported."""

    def note(self, text: str) -> None:
        """Reports one line about what happens next or was found."""

    def start(self, name: str, total: int) -> None:
        """Reports that work of `total` steps begins; 0 when their number is not known."""

    def step(self, done: int, **info: float | str) -> None:
        """Reports that `done` steps of the work begun last are finished.

        Args:
            done: finished steps, from 1.
            info: values to show beside them, such as the loss.
        """

    def stop(self) -> None:
        """Reports that the work begun last has ended."""

    def over(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items one by one, and reports a step after each.

        Args:
            name: what is being done.
            items: one for each step.
        """
        total = len(items) if isinstance(items, Sized) else 0
        self.start(name, total)
        try:
            for done, item in enumerate(items, start=1):
                yield item
                self.step(done)
        finally:
            self.stop()
