"""Gradient caching: exact gradients of a loss over all rows of a step, with few activations held.

A loss that depends on all rows at once cannot be summed over small batches: DPO compares pairs,
PDU looks at means. Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup" (arXiv:2101.06983), cut the graph between the body of the model and the loss instead. The
hidden states at the cut are small, so they are held for all rows; the activations inside the body
are large, so they are held for one chunk of rows at a time.

    1. Forward: every chunk goes through the body, without a graph. Its hidden states are gathered
       from all processes and become the leaves of a new graph.
    2. Head and loss: every process computes the whole loss on these leaves. The backward pass of
       the loss ends there and leaves its gradients in them: this is the cache of gradients.
    3. Backward: each chunk goes through the body a second time, now with a graph, and the cached
       gradients of its own hidden states continue from there into the weights.

With a single chunk its graph from the first pass is kept, and the second pass is not needed.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import States, scored_states
from skunlearn.training.fsdp import unshard_root
from skunlearn.training.rows import scored_tokens
from skunlearn.utils.batching import batched
from skunlearn.utils.distributed import gather_rows, rank, world_size


@dataclass(frozen=True)
class _Chunk:
    """Rows that go through the body together.

    Attributes:
        rows: the rows.
        outputs: what the body makes of their scored tokens, (N, D) each: the hidden states that
            the head reads, then the output of each layer that the loss reads.
    """

    rows: list[Encoded]
    outputs: list[torch.Tensor]


class GradientCache:
    """The forward and the backward pass of a step's rows through the body of a model.

    `states` is the first pass. After the backward pass of the loss, `backward` is the second.

    Args:
        model: the model to train.
        layers: decoder layers whose output the loss reads, as shares of the depth.
        num_chunks: in how many chunks each process takes its rows (1 or more).
        grouped: split a chunk that cannot be packed into batches of similar length, so that little
            is padding; otherwise it is one batch.
        autocast: makes the context of each pass, which sets its precision.
    """

    def __init__(
        self,
        model: Any,
        layers: Sequence[float] = (),
        num_chunks: int = 1,
        grouped: bool = True,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.num_chunks = num_chunks
        self.grouped = grouped
        self.autocast = autocast
        # The state between the two passes of a step: the chunks of this process, the scored tokens
        # of each process, where each scored token is among the gathered ones, and the leaves.
        self.chunks: list[_Chunk] = []
        self.sizes: list[int] = []
        self.order_N = torch.empty(0)
        self.leaves: list[torch.Tensor] = []

    def states(self, rows: Sequence[Encoded]) -> States:
        """First pass: the states of the scored tokens of all rows, detached from the body's graph.

        Args:
            rows: the rows of the step, the same on all processes.
        """
        # All processes compute the same assignment; each takes its own chunks of it.
        assignment = assign_rows(list(map(len, rows)), world_size() * self.num_chunks)
        assigned: list[list[Encoded]] = []
        for numbers in assignment:
            assigned.append([rows[number] for number in numbers])
        first = rank() * self.num_chunks
        self.chunks = []
        with torch.set_grad_enabled(self.num_chunks == 1):
            for chunk_rows in assigned[first : first + self.num_chunks]:
                self.chunks.append(self._forward(chunk_rows))

        # Count the scored tokens of each process, to gather their states.
        self.sizes = []
        for of_process in batched(assigned, self.num_chunks):
            self.sizes.append(sum(map(scored_tokens, of_process)))
        device = self.chunks[0].outputs[0].device
        self.order_N = torch.tensor(_gathered_order(rows, assignment), device=device)

        # Gather the states, put them into the order of the rows, and cut the graph.
        self.leaves = []
        for by_chunk in zip(*(chunk.outputs for chunk in self.chunks), strict=True):
            gathered = gather_rows(torch.cat(by_chunk).detach(), self.sizes)
            self.leaves.append(gathered[self.order_N].requires_grad_())

        labels: list[int] = []
        row_numbers: list[int] = []
        for number, row in enumerate(rows):
            labels.extend(row.answer_ids)
            row_numbers.extend([number] * len(row.answer_ids))
        return States(
            self.leaves[0],
            torch.tensor(labels, device=device),
            torch.tensor(row_numbers, device=device),
            dict(zip(self.layers, self.leaves[1:], strict=True)),
        )

    def backward(self) -> None:
        """Second pass: propagate the gradients of the states through the body into the weights."""
        # The gradients that belong to this process, by leaf and then by chunk.
        start = sum(self.sizes[: rank()])
        mine = slice(start, start + self.sizes[rank()])
        tokens = [scored_tokens(chunk.rows) for chunk in self.chunks]
        gradients: list[tuple[torch.Tensor, ...] | None] = []
        for leaf in self.leaves:
            # A layer that the loss did not read has no gradient.
            of_leaf = None if leaf.grad is None else self._gathered_gradient(leaf.grad)[mine]
            gradients.append(None if of_leaf is None else of_leaf.split(tokens))

        for number, chunk in enumerate(self.chunks):
            # A single chunk still has the graph of its first pass.
            outputs = chunk.outputs if self.num_chunks == 1 else self._forward(chunk.rows).outputs
            roots: list[torch.Tensor] = []
            root_gradients: list[torch.Tensor] = []
            for output, by_chunk in zip(outputs, gradients, strict=True):
                if by_chunk is not None and output.requires_grad:
                    roots.append(output)
                    root_gradients.append(by_chunk[number])
            unshard_root(self.model)
            torch.autograd.backward(roots, root_gradients)
        self.chunks = []
        self.leaves = []

    def _gathered_gradient(self, gradient_ND: torch.Tensor) -> torch.Tensor:
        """The gradient of the gathered states, from the gradient of the states in row order.

        It is multiplied by the number of processes. Each process adds the contribution of its own
        rows only, and the weights' gradients are averaged over the processes afterwards.
        """
        gathered = gradient_ND.new_zeros(sum(self.sizes), gradient_ND.shape[1])
        gathered[self.order_N] = gradient_ND * world_size()
        return gathered

    def _forward(self, rows: list[Encoded]) -> _Chunk:
        with self.autocast():
            states = scored_states(self.model, rows, self.layers, self.grouped)
        layers = [states.layers[share] for share in self.layers]
        return _Chunk(rows, [states.hidden_ND, *layers])


def assign_rows(lengths: Sequence[int], num_chunks: int) -> list[list[int]]:
    """The row numbers of each chunk: rows are dealt out in the order of their lengths.

    Every chunk must take part in gathering, so where there are fewer rows than chunks, the longest
    row is assigned again. Copies after the first are not read and have no gradient.

    Args:
        lengths: tokens of each row.
        num_chunks: 1 or more.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    longest = order[-1:]
    return [order[chunk::num_chunks] or longest for chunk in range(num_chunks)]


def _gathered_order(rows: Sequence[Encoded], assignment: Sequence[Sequence[int]]) -> list[int]:
    """For each scored token, in the order of `rows`, its index among the gathered tokens."""
    start_of: dict[int, int] = {}
    start = 0
    for number in chain.from_iterable(assignment):
        start_of.setdefault(number, start)  # of a row that is there twice, the first copy
        start += len(rows[number].answer_ids)
    order: list[int] = []
    for number, row in enumerate(rows):
        order.extend(range(start_of[number], start_of[number] + len(row.answer_ids)))
    return order
