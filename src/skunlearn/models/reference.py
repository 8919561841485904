"""The base model's predictions for given rows, without a second model in memory.

They are computed once before training, so that a training step needs no second forward pass.
"""

import copy
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import head_logits, make_batch, recorded_layers, scored_hidden
from skunlearn.utils.batching import batched, divided
from skunlearn.utils.distributed import gather_objects, rank, world_size
from skunlearn.utils.hooks import temporary_hooks
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 16


class Reference:
    """Hidden states of the base model at the scored tokens of chosen rows.

    For each token, D numbers are kept instead of V logits. The base model's language head turns
    them into logits when they are needed. It is the model's own head, or a copy of it where
    training is going to change it.

    Args:
        model: the base model, before anything was trained.
        rows: all rows, by number.
        wanted: the numbers of the rows that are recorded.
        copy_head: whether training is going to change the language head.
        progress: reports the batches.
        layers: the decoder layers whose outputs are kept too, as shares of the depth.
        together: whether all processes create it together; each then computes a share of the rows.

    Attributes:
        model: the model whose head computes logits.
        head: the copy of the language head; None for the model's own.
        hidden: number of the row -> inputs of the language head, (N, D), on the CPU.
        layers: share of the depth -> number of the row -> outputs of the layer, (N, D).
        numbers: row -> number, for the rows that are recorded.
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Encoded],
        wanted: Iterable[int],
        copy_head: bool,
        progress: Progress,
        layers: Sequence[float] = (),
        together: bool = False,
    ) -> None:
        self.model = model
        self.head = copy.deepcopy(model.get_output_embeddings()) if copy_head else None
        self.hidden: dict[int, torch.Tensor] = {}
        self.layers: dict[float, dict[int, torch.Tensor]] = {share: {} for share in layers}
        # Rows of like length share a batch.
        order = sorted(set(wanted), key=lambda number: len(rows[number]))
        lengths = list(map(len, rows))
        chunks: list[list[int]] = []
        for chunk in batched(order, ROWS_AT_ONCE):
            chunks += divided(chunk, lengths)
        if together:
            chunks = chunks[rank() :: world_size()]
        for chunk in progress.over("reference", chunks):
            self._record(rows, chunk)
        if together:
            # Every process receives what the others recorded.
            for hidden, layer_outputs in gather_objects((self.hidden, self.layers)):
                self.hidden |= hidden
                for share, by_number in layer_outputs.items():
                    self.layers[share] |= by_number
        self.numbers: dict[Encoded, int] = {}
        for number in order:
            self.numbers[rows[number]] = number

    @torch.no_grad()
    def _record(self, rows: Sequence[Encoded], chunk: Sequence[int]) -> None:
        """Run the rows with these numbers as one batch and keep their states on the CPU."""
        batch = make_batch(self.model, [rows[number] for number in chunk])
        with recorded_layers(self.model, batch, self.layers) as outputs:
            hidden_ND = scored_hidden(self.model, batch)
        for row, number in enumerate(chunk):
            of_row_N = batch.row_N == row
            self.hidden[number] = hidden_ND[of_row_N].cpu()
            for share, by_number in self.layers.items():
                by_number[number] = outputs[share][of_row_N].cpu()

    def layer_outputs(self, numbers: Sequence[int]) -> dict[float, torch.Tensor]:
        """Return the outputs of the base model's layers at the scored tokens of these rows.

        Args:
            numbers: of recorded rows; the tokens are in their order.

        Returns:
            share of the depth -> (N, D), on the model's device.
        """
        outputs = {}
        for share, by_number in self.layers.items():
            outputs[share] = self._of_rows(by_number, numbers)
        return outputs

    @torch.no_grad()
    def logits(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the base model's logits at the scored tokens of these rows, (N, V).

        Args:
            numbers: of recorded rows; the tokens are in their order.
        """
        hidden_ND = self._of_rows(self.hidden, numbers)
        copied_head: Any = nullcontext()
        head = self.head
        if head is not None:
            # The copied head's output replaces that of the model's own head, so that the model
            # still applies its soft caps and scales to it.
            copied_head = temporary_hooks(
                [
                    self.model.get_output_embeddings().register_forward_hook(
                        lambda _module, args, _output: head(args[0])
                    )
                ]
            )
        with copied_head:
            return head_logits(self.model, hidden_ND)

    def _of_rows(self, by_number: dict[int, torch.Tensor], numbers: Sequence[int]) -> torch.Tensor:
        """Return the states of these rows, one below the other, on the model's device."""
        return torch.cat([by_number[number] for number in numbers]).to(self.model.device)
