"""Which rows each step takes, as a function of (seed, step)."""

import random
from collections import Counter
from collections.abc import Sequence

from skunlearn.utils.errors import DataError

PASSES_KEPT = 12  # of all sets


class Sampler:
    """Which rows each step takes: a pure function of (seed, step), so a resumed run sees what it would have seen.

    Each set is walked through in its own shuffled passes: a short retain set does not cut the forget set short.

    Args:
        keys: the prompt key of each forget row; a mismatched answer never comes from a row of the same key.
        batch: rows a set and step.
        mismatched: K, mismatched answers for each forget row.
        seed: which of the possible orders.
    """

    def __init__(self, keys: Sequence[str], batch: int, mismatched: int, seed: int) -> None:
        if len(set(keys)) < 2 and mismatched:
            raise DataError("mismatched answers need two or more distinct forget prompts")
        self.keys, self.batch, self.mismatched, self.seed = keys, batch, mismatched, seed
        self._orders: dict[tuple[str, int, int], list[int]] = {}

    def forget_rows(self, step: int) -> list[int]:
        """Rows of the forget set in this step; a pass asks every prompt once before it asks one a second time."""
        return self.rows("forget", len(self.keys), step, keys=self.keys)

    def mismatch_rows(self, step: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, row whose answer is given): K for each forget row, of other prompts."""
        pairs = []
        for row in self.forget_rows(step):
            others = [other for other, key in enumerate(self.keys) if key != self.keys[row]]
            draw = random.Random(f"{self.seed}/mismatch/{step}/{row}")
            pairs += [(row, other) for other in draw.sample(others, min(self.mismatched, len(others)))]
        return pairs

    def unrelated_rows(self, step: int, answers: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, retain answer that is given): K for each forget row."""
        pairs = []
        for row in self.forget_rows(step):
            draw = random.Random(f"{self.seed}/unrelated/{step}/{row}")
            pairs += [(row, given) for given in draw.sample(range(answers), min(self.mismatched, answers))]
        return pairs

    def refusal_rows(self, step: int, refusals: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, refusal that is given): one for each forget row."""
        draw = random.Random(f"{self.seed}/refusal/{step}")
        return [(row, draw.randrange(refusals)) for row in self.forget_rows(step)]

    def rows(self, name: str, n: int, step: int, times: int = 1, keys: Sequence[str] = ()) -> list[int]:
        """Rows of a set of `n` in this step, `times` batches of them; none when the set is empty."""
        rows: list[int] = []
        size = self.batch * times
        for position in range(step * size, (step + 1) * size if n else 0):
            rows.append(self._order(name, n, position // n, keys)[position % n])
        return rows

    def _order(self, name: str, n: int, number: int, keys: Sequence[str]) -> list[int]:
        """The rows of a set in one of its passes; kept, since every row of every step asks."""
        if (name, n, number) not in self._orders:
            if len(self._orders) >= PASSES_KEPT:
                self._orders.clear()
            order = list(range(n))
            random.Random(f"{self.seed}/{name}/{number}").shuffle(order)
            self._orders[name, n, number] = _in_turns(order, keys) if keys else order
        return self._orders[name, n, number]


def _in_turns(order: Sequence[int], keys: Sequence[str]) -> list[int]:
    """The first row of every key, then every second one, and so on; in this order within a turn."""
    seen: Counter[str] = Counter()
    turn = {}
    for row in order:
        turn[row] = seen[keys[row]]
        seen[keys[row]] += 1
    return sorted(order, key=turn.__getitem__)
