"""Batches of scored rows, and which rows each step takes."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.data.template import Encoded
from skunlearn.errors import DataError


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right, and where their answers are.

    Attributes:
        input_ids_BT: token ids; padding is any id, hidden by the mask.
        attention_mask_BT: 1 for tokens, 0 for padding.
        row_N: the row of each scored token.
        time_N: the position that predicts it (one before its own).
        labels_N: the scored tokens.
    """

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    row_N: torch.Tensor
    time_N: torch.Tensor
    labels_N: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def collate(rows: Sequence[Encoded]) -> Batch:
    """One batch of rows of any length."""
    width = max(map(len, rows))
    input_ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    attention_mask_BT = torch.zeros(len(rows), width, dtype=torch.long)
    row_N: list[int] = []
    time_N: list[int] = []
    labels_N: list[int] = []
    for number, row in enumerate(rows):
        ids = row.prompt_ids + row.answer_ids
        input_ids_BT[number, : len(ids)] = torch.tensor(ids)
        attention_mask_BT[number, : len(ids)] = 1
        row_N += [number] * len(row.answer_ids)
        time_N += range(len(row.prompt_ids) - 1, len(ids) - 1)
        labels_N += row.answer_ids
    return Batch(input_ids_BT, attention_mask_BT, *(torch.tensor(values) for values in (row_N, time_N, labels_N)))


def length_groups(lengths: Sequence[int], another: int) -> list[list[int]]:
    """Numbers of rows in groups of like length: the split with the least padded tokens.

    Args:
        lengths: tokens of each row.
        another: what one more group costs, in tokens.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    best: list[tuple[int, int]] = [(0, 0)]  # of the first n rows: the cost, and where the last group begins
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        best.append(min((best[at][0] + another + longest * (end - at), at) for at in range(end)))
    groups, end = [], len(order)
    while end:
        groups.append(order[best[end][1] : end])
        end = best[end][1]
    return groups[::-1]


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
