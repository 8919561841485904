"""Rows laid out for one pass through a model, and which rows each step takes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from skunlearn.data.chat_template import Encoded


@dataclass(frozen=True)
class Batch:
    """Rows laid out for one pass, and where their answers are. A *place* counts through
    input_ids_BT, row after row.

    Attributes:
        input_ids_BT: token ids.
        rows_BT: how many of the rows have this token: 0 for padding; above 1 only in a packed
            batch.
        time_BT: the position of each token in its rows, from 0.
        row_N: the row of each scored token.
        place_N: where it is predicted, one token before its own.
        labels_N: the scored tokens.
        packed: empty, or of a packed batch some rows' places at a time, (b, t) each, padded on the
            right with any.
        home_M: of a packed batch, where each of its M tokens is in `packed`, taken one after the
            other.
    """

    input_ids_BT: torch.Tensor
    rows_BT: torch.Tensor
    time_BT: torch.Tensor
    row_N: torch.Tensor
    place_N: torch.Tensor
    labels_N: torch.Tensor
    packed: tuple[torch.Tensor, ...] = ()
    home_M: torch.Tensor = torch.zeros(0, dtype=torch.long)

    @property
    def attention_mask(self) -> torch.Tensor:
        """1 for tokens, 0 for padding, in the shape of input_ids_BT."""
        return (self.rows_BT > 0).long()

    def to(self, device: torch.device) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        packed = tuple(places_BT.to(device) for places_BT in values.pop("packed"))
        return Batch(**{name: value.to(device) for name, value in values.items()}, packed=packed)


def collate(rows: Sequence[Encoded]) -> Batch:
    """Rows of any length, one below the other, padded on the right."""
    width = max(map(len, rows))
    input_ids_BT, rows_BT = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for number, row in enumerate(rows):
        input_ids_BT[number, : len(row)] = torch.tensor(row.prompt_ids + row.answer_ids)
        rows_BT[number, : len(row)] = 1
    paths = [range(number * width, number * width + len(row)) for number, row in enumerate(rows)]
    return Batch(
        input_ids_BT, rows_BT, torch.arange(width).expand(len(rows), -1), *_scored(rows, paths)
    )


def pack(rows: Sequence[Encoded], another: int) -> Batch:
    """Rows of any length in one line without padding, in which rows that begin alike have their
    beginning once.

    Every token stands behind all that it depends on, but not right behind it: `packed` says where
    they are.

    Args:
        rows: prompts with their answers.
        another: what one more group in `packed` costs, in tokens.
    """
    numbers: dict[tuple[int, int], int] = {}  # (the place before, the token) -> its place
    times: list[int] = []
    counts: Counter[int] = Counter()
    paths: list[list[int]] = []
    for row in rows:
        path: list[int] = []
        for time, token in enumerate(row.prompt_ids + row.answer_ids):
            path.append(numbers.setdefault((path[-1] if path else -1, token), len(times)))
            if path[-1] == len(times):
                times.append(time)
        counts.update(path)
        paths.append(path)
    packed, home_M = _groups(paths, another)
    return Batch(
        torch.tensor([[token for _, token in numbers]]),
        torch.tensor([[counts[place] for place in range(len(times))]]),
        torch.tensor([times]),
        *_scored(rows, paths),
        packed,
        home_M,
    )


def _groups(
    paths: Sequence[Sequence[int]], another: int
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """`packed` and `home_M`, given the places of each row's tokens."""
    packed: list[torch.Tensor] = []
    homes: dict[int, int] = {}
    before = 0
    for group in length_groups([len(path) for path in paths], another):
        width = len(paths[group[-1]])
        packed.append(
            torch.tensor(
                [[*paths[number], *[0] * (width - len(paths[number]))] for number in group]
            )
        )
        for place, number in enumerate(group):
            homes |= {
                token: before + place * width + time for time, token in enumerate(paths[number])
            }
        before += packed[-1].numel()
    return tuple(packed), torch.tensor([homes[place] for place in range(len(homes))])


def _scored(
    rows: Sequence[Encoded], paths: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, place and label of each scored token, given the place of each row's tokens."""
    row_N = [number for number, row in enumerate(rows) for _ in row.answer_ids]
    place_N = [
        place
        for row, path in zip(rows, paths, strict=True)
        for place in path[len(row.prompt_ids) - 1 : -1]
    ]
    labels_N = [token for row in rows for token in row.answer_ids]
    return torch.tensor(row_N), torch.tensor(place_N), torch.tensor(labels_N)


def length_groups(lengths: Sequence[int], another: int) -> list[list[int]]:
    """Numbers of rows in groups of like length: the split with the least padded tokens.

    Args:
        lengths: tokens of each row.
        another: what one more group costs, in tokens.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    best: list[tuple[int, int]] = [
        (0, 0)
    ]  # of the first n rows: the cost, and where the last group begins
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        best.append(min((best[at][0] + another + longest * (end - at), at) for at in range(end)))
    groups, end = [], len(order)
    while end:
        groups.append(order[best[end][1] : end])
        end = best[end][1]
    return groups[::-1]
