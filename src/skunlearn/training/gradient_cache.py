"""The rows of a step through the body of a model, dealt to processes and to parts: what is held at
once is a choice.

The loss is not dealt out. Every process is given the hidden states of all scored tokens and
computes the whole loss, so that any method is exact, whatever it does with its means. The gradients
of these states then go back through the body:

    body (my rows) -> hidden states, gathered -> head, loss     | all rows, everywhere
    body (my rows) <- my share of their gradients <-            |

With parts, the first pass keeps nothing for the gradients, and each part passes again when its
gradients are there.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import States, scored_states
from skunlearn.training.fsdp import unshard_root
from skunlearn.utils.distributed import gather_rows, rank, world_size


@dataclass(frozen=True)
class _Made:
    """One part of this process: its rows, and what the body makes of them (hidden states, then
    layers)."""

    rows: list[Encoded]
    outputs: list[torch.Tensor]


class GradientCache:
    """How a step's rows go through the body and their gradients back.

    Args:
        model: what is trained.
        layers: decoder layers whose output is read, as shares of the depth.
        parts: in how many parts each process does its rows, 1 or more.
        grouped: whether a part that cannot be packed goes in passes of like length, or in one.
        autocast: a block around each pass, which sets its precision.
    """

    def __init__(
        self,
        model: Any,
        layers: Sequence[float] = (),
        parts: int = 1,
        grouped: bool = True,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.autocast = autocast
        self.model, self.layers, self.parts, self.grouped = model, tuple(layers), parts, grouped
        self.mine: list[_Made] = []
        self.sizes: list[int] = []
        self.order_N = torch.empty(0)
        self.leaves: list[torch.Tensor] = []

    def states(self, rows: Sequence[Encoded]) -> States:
        """What the scored tokens are to the model, cut off from its graph: `backward` carries on
        where it is cut."""
        turns = assign_rows([len(row) for row in rows], world_size() * self.parts)
        first = rank() * self.parts
        with torch.set_grad_enabled(self.parts == 1):
            self.mine = [
                self._part([rows[number] for number in turn])
                for turn in turns[first : first + self.parts]
            ]
        tokens = [sum(len(rows[number].answer_ids) for number in turn) for turn in turns]
        self.sizes = [sum(tokens[at : at + self.parts]) for at in range(0, len(tokens), self.parts)]
        places: dict[int, range] = {}
        at = 0
        for number in (number for turn in turns for number in turn):
            places.setdefault(number, range(at, at + len(rows[number].answer_ids)))
            at += len(rows[number].answer_ids)
        device = self.mine[0].outputs[0].device
        self.order_N = torch.tensor(
            [place for number in range(len(rows)) for place in places[number]], device=device
        )
        outputs = [
            torch.cat(same).detach()
            for same in zip(*(made.outputs for made in self.mine), strict=True)
        ]
        self.leaves = [
            gather_rows(one, self.sizes)[self.order_N].requires_grad_() for one in outputs
        ]
        return States(
            self.leaves[0],
            torch.tensor([token for row in rows for token in row.answer_ids], device=device),
            torch.tensor(
                [number for number, row in enumerate(rows) for _ in row.answer_ids], device=device
            ),
            dict(zip(self.layers, self.leaves[1:], strict=True)),
        )

    def backward(self) -> None:
        """The gradients of the states back through the body, into the weights."""
        start = sum(self.sizes[: rank()])
        mine = slice(start, start + self.sizes[rank()])
        tokens = [sum(len(row.answer_ids) for row in made.rows) for made in self.mine]
        parts = [
            self._gradient(leaf)[mine].split(tokens) if leaf.grad is not None else None
            for leaf in self.leaves
        ]
        for number, made in enumerate(self.mine):
            outputs = made.outputs if self.parts == 1 else self._part(made.rows).outputs
            pairs = [
                (output, gradients[number])
                for output, gradients in zip(outputs, parts, strict=True)
                if gradients is not None and output.requires_grad
            ]
            unshard_root(self.model)
            torch.autograd.backward(
                [output for output, _ in pairs], [gradient for _, gradient in pairs]
            )
        self.mine, self.leaves = [], []

    def _gradient(self, leaf: torch.Tensor) -> torch.Tensor:
        """Of the states as they were gathered; times the processes, since what each makes of its
        own is averaged."""
        assert leaf.grad is not None
        gradient = leaf.grad.new_zeros(sum(self.sizes), leaf.shape[1])
        gradient[self.order_N] = leaf.grad * world_size()
        return gradient

    def _part(self, rows: list[Encoded]) -> _Made:
        with self.autocast():
            states = scored_states(self.model, rows, self.layers, self.grouped)
        return _Made(rows, [states.hidden_ND, *(states.layers[share] for share in self.layers)])


def assign_rows(lengths: Sequence[int], turns: int) -> list[list[int]]:
    """Numbers of rows for each turn, of like lengths; where there are too few, a row goes twice."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    return [order[turn::turns] or order[-1:] for turn in range(turns)]
