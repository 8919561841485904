"""Batches: rows laid out for one forward pass, padded or packed.

A padded batch has one line for each row. A packed batch has a single line without padding, in which
rows that begin alike share their beginning: the prompt of four answers is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.data.chat_template import Encoded

BEFORE_THE_FIRST = -1  # stands for the position before the first token of a row


@dataclass(frozen=True)
class Batch:
    """Rows laid out for one forward pass, and where their scored tokens are.

    B lines of T tokens are input_ids_BT. Below, a *flat position* counts through them, line after
    line. N is the number of scored tokens of all rows, M the number of tokens of a packed batch.

    Attributes:
        input_ids_BT: token ids, 0 for padding.
        rows_BT: how many rows have this token: 0 for padding, above 1 only in a packed batch.
        time_BT: the position of each token within its rows, from 0.
        row_N: the row of each scored token.
        place_N: the flat position that predicts each scored token, which is that of the token
            before it.
        labels_N: ids of the scored tokens.
        packed: of a packed batch, groups of rows, each (rows, longest row): the flat positions of
            each row's tokens, padded on the right with 0. Empty for a padded batch.
        home_M: of a packed batch, where each of its tokens is within `packed`, whose groups are
            flattened and joined.
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
        """The batch on a device."""
        return Batch(
            self.input_ids_BT.to(device),
            self.rows_BT.to(device),
            self.time_BT.to(device),
            self.row_N.to(device),
            self.place_N.to(device),
            self.labels_N.to(device),
            tuple(positions_BT.to(device) for positions_BT in self.packed),
            self.home_M.to(device),
        )


def collate(rows: Sequence[Encoded]) -> Batch:
    """A padded batch: rows of any length, one line each, padded on the right."""
    width = max(len(row) for row in rows)
    input_ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    rows_BT = torch.zeros(len(rows), width, dtype=torch.long)
    paths: list[Sequence[int]] = []
    for number, row in enumerate(rows):
        input_ids_BT[number, : len(row)] = torch.tensor(row.prompt_ids + row.answer_ids)
        rows_BT[number, : len(row)] = 1
        start = number * width
        paths.append(range(start, start + len(row)))
    time_BT = torch.arange(width).expand(len(rows), -1)
    return Batch(input_ids_BT, rows_BT, time_BT, *_scored(rows, paths))


def pack(rows: Sequence[Encoded], another: int) -> Batch:
    """A packed batch: rows of any length in one line, equal beginnings only once.

    The rows are put into a prefix tree, whose nodes are the tokens of the line. In a causal model a
    token depends only on the tokens before it in its row, so rows that begin alike have equal
    hidden states there and can share them. A node comes after all nodes that it depends on, but not
    always right after them: attention must gather each row's tokens with `Batch.packed`.

    Args:
        rows: prompts with their answers.
        another: what attention to one more group of rows costs, in tokens.
    """
    # A node of the tree is named by its parent's position in the line and its own token. A dict
    # keeps its order, so a new node stands at the end of the line.
    positions: dict[tuple[int, int], int] = {}
    times: list[int] = []
    counts: list[int] = []
    paths: list[list[int]] = []
    for row in rows:
        # Follow the row down the tree, adding the nodes that no earlier row has.
        path: list[int] = []
        parent = BEFORE_THE_FIRST
        for time, token in enumerate(row.prompt_ids + row.answer_ids):
            node = (parent, token)
            if node not in positions:
                positions[node] = len(positions)
                times.append(time)
                counts.append(0)
            position = positions[node]
            counts[position] += 1
            path.append(position)
            parent = position
        paths.append(path)

    tokens = [token for _, token in positions]
    packed, home_M = _grouped_paths(paths, another)
    return Batch(
        torch.tensor([tokens]),
        torch.tensor([counts]),
        torch.tensor([times]),
        *_scored(rows, paths),
        packed,
        home_M,
    )


def _grouped_paths(
    paths: Sequence[Sequence[int]], another: int
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """`Batch.packed` and `Batch.home_M`.

    Args:
        paths: the flat positions of each row's tokens.
        another: what attention to one more group of rows costs, in tokens.
    """
    groups: list[torch.Tensor] = []
    # A token of several rows comes out of attention once in each. They are equal, and the last is
    # the one that is read.
    homes: dict[int, int] = {}
    start = 0  # of the present line, in the flattened groups
    for group in length_groups([len(path) for path in paths], another):
        width = len(paths[group[-1]])  # the last row of a group is its longest
        lines = []
        for number in group:
            path = paths[number]
            padding = [0] * (width - len(path))
            lines.append([*path, *padding])
            for time, position in enumerate(path):
                homes[position] = start + time
            start += width
        groups.append(torch.tensor(lines))
    home_M = torch.tensor([homes[position] for position in range(len(homes))])
    return tuple(groups), home_M


def _scored(
    rows: Sequence[Encoded], paths: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`Batch.row_N`, `Batch.place_N` and `Batch.labels_N`.

    Args:
        rows: prompts with their answers.
        paths: the flat positions of each row's tokens.
    """
    row_N: list[int] = []
    place_N: list[int] = []
    labels_N: list[int] = []
    for number, (row, path) in enumerate(zip(rows, paths, strict=True)):
        row_N += [number] * len(row.answer_ids)
        # From the last prompt token, which predicts the first answer token, to the last but one.
        place_N += path[len(row.prompt_ids) - 1 : -1]
        labels_N += row.answer_ids
    return torch.tensor(row_N), torch.tensor(place_N), torch.tensor(labels_N)


def length_groups(lengths: Sequence[int], another: int) -> list[list[int]]:
    """Rows in groups of like length, so that padding and groups together cost the least.

    A group costs `another` tokens, and as many as it has when its rows are padded to the longest of
    them. The best groups are runs of the rows sorted by length, and dynamic programming finds where
    to cut them, in O(rows²).

    Args:
        lengths: tokens of each row.
        another: what one more group costs, in tokens.

    Returns:
        The numbers of the rows in each group, the shortest rows first.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])

    # best[n] is for the n shortest rows: their least cost, and where their last group begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        costs = []
        for start in range(end):
            cost = best[start][0] + another + longest * (end - start)
            costs.append((cost, start))
        best.append(min(costs))

    # Walk back from the longest row: each group begins where `best` says.
    groups = []
    end = len(order)
    while end > 0:
        _, start = best[end]
        groups.append(order[start:end])
        end = start
    groups.reverse()
    return groups
