"""Draws the row numbers of each training step."""

import random
from collections import Counter
from collections.abc import Sequence

from skunlearn.utils.errors import DataError

CACHED_ORDERS = 12  # shuffled epochs held at once, of all sets together


class Sampler:
    """Draws the row numbers of each step.

    The draw is a pure function of the seed and the step, so a resumed training sees the rows that
    it would have seen without the interruption. Each set has epochs of its own, each in its own
    shuffled order, so that a small retain set does not cut the forget set short.

    Args:
        keys: the prompt key of each forget row. A mismatched answer never comes from a row with
            the same key.
        batch: rows of each set in a step.
        mismatched: K, the number of mismatched answers for each forget row.
        seed: chooses among the possible orders.

    Raises:
        DataError: when mismatched answers are needed and all forget prompts are the same.
    """

    def __init__(self, keys: Sequence[str], batch: int, mismatched: int, seed: int) -> None:
        if len(set(keys)) < 2 and mismatched:
            raise DataError("mismatched answers need two or more distinct forget prompts")
        self.keys = keys
        self.batch = batch
        self.mismatched = mismatched
        self.seed = seed
        self._orders: dict[tuple[str, int, int], list[int]] = {}

    def forget_rows(self, step: int) -> list[int]:
        """The forget rows of this step.

        An epoch takes one row of every prompt before it takes a second row of any.
        """
        return self.rows("forget", len(self.keys), step, keys=self.keys)

    def mismatch_rows(self, step: int) -> list[tuple[int, int]]:
        """K pairs of forget rows for each forget row of this step.

        The first row gives the prompt, the second one, whose prompt is another, gives the answer.
        """
        pairs: list[tuple[int, int]] = []
        for row in self.forget_rows(step):
            others = [other for other, key in enumerate(self.keys) if key != self.keys[row]]
            draw = random.Random(f"{self.seed}/mismatch/{step}/{row}")
            for answer in draw.sample(others, min(self.mismatched, len(others))):
                pairs.append((row, answer))
        return pairs

    def unrelated_rows(self, step: int, answers: int) -> list[tuple[int, int]]:
        """K pairs for each forget row of this step: its number, and the number of an answer.

        Args:
            step: from 0.
            answers: how many retain answers there are to draw from.
        """
        pairs: list[tuple[int, int]] = []
        for row in self.forget_rows(step):
            draw = random.Random(f"{self.seed}/unrelated/{step}/{row}")
            for answer in draw.sample(range(answers), min(self.mismatched, answers)):
                pairs.append((row, answer))
        return pairs

    def refusal_rows(self, step: int, refusals: int) -> list[tuple[int, int]]:
        """A pair for each forget row of this step: its number, and the number of a refusal.

        Args:
            step: from 0.
            refusals: how many refusals there are to draw from.
        """
        draw = random.Random(f"{self.seed}/refusal/{step}")
        return [(row, draw.randrange(refusals)) for row in self.forget_rows(step)]

    def rows(
        self, name: str, n: int, step: int, times: int = 1, keys: Sequence[str] = ()
    ) -> list[int]:
        """The rows of this step from a set of `n` rows; none when the set is empty.

        Args:
            name: of the set, which seeds its order.
            n: rows in the set.
            step: from 0.
            times: how many batches the step takes.
            keys: the prompt key of each row, to take each prompt once before any a second time.
        """
        rows: list[int] = []
        if n == 0:
            return rows
        size = self.batch * times
        for position in range(step * size, (step + 1) * size):
            order = self._order(name, n, position // n, keys)
            rows.append(order[position % n])
        return rows

    def _order(self, name: str, n: int, epoch: int, keys: Sequence[str]) -> list[int]:
        """The row numbers of a set in the order of this epoch, cached."""
        if (name, n, epoch) not in self._orders:
            if len(self._orders) >= CACHED_ORDERS:
                self._orders.clear()
            order = list(range(n))
            random.Random(f"{self.seed}/{name}/{epoch}").shuffle(order)
            self._orders[name, n, epoch] = _round_robin(order, keys) if keys else order
        return self._orders[name, n, epoch]


def _round_robin(order: Sequence[int], keys: Sequence[str]) -> list[int]:
    """The first row of every key, then the second row of every key, and so on.

    Within a round the rows keep the given order.
    """
    seen: Counter[str] = Counter()
    round_of: dict[int, int] = {}
    for row in order:
        round_of[row] = seen[keys[row]]
        seen[keys[row]] += 1
    return sorted(order, key=round_of.__getitem__)
