"""The base model's predictions of any rows, without a second model and without a second pass in
each step."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import head_logits, make_batch, recorded_layers, scored_hidden
from skunlearn.utils.distributed import gather_objects, rank, world_size
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 16


class Reference:
    """Hidden states of the base at the scored tokens of chosen rows, computed once before training.

    D numbers a token are kept instead of V, and the base's language head turns them into logits
    when they are asked for. The head is the model's own; it is copied when it is going to change.

    Attributes:
        numbers: row -> number, of those that can be asked for.

    Args:
        model: the base, before anything was trained.
        rows: all rows, by number.
        wanted: the numbers that will be asked for.
        copy_head: the language head is going to change.
        progress: is told of the batches.
        layers: decoder layers whose output is kept too, as shares of the depth.
        together: all processes make it, each a share of the rows.
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
        order = sorted(set(wanted), key=lambda number: len(rows[number]))
        chunks = [order[at : at + ROWS_AT_ONCE] for at in range(0, len(order), ROWS_AT_ONCE)]
        for chunk in progress.over(
            "reference", chunks[rank() :: world_size()] if together else chunks
        ):
            batch = make_batch(model, [rows[number] for number in chunk])
            with torch.no_grad(), recorded_layers(model, batch, layers) as read:
                hidden_ND = scored_hidden(model, batch)
            for place, number in enumerate(chunk):
                mine_N = batch.row_N == place
                self.hidden[number] = hidden_ND[mine_N].cpu()
                for share, by_number in self.layers.items():
                    by_number[number] = read[share][mine_N].cpu()
        for hidden, of_layers in gather_objects((self.hidden, self.layers)) if together else []:
            self.hidden |= hidden
            for share, by_number in of_layers.items():
                self.layers[share] |= by_number
        self.numbers = {rows[number]: number for number in order}

    def layer_outputs(self, numbers: Sequence[int]) -> dict[float, torch.Tensor]:
        """What the base's layers put out for the scored tokens of these rows, in order, (N, D)
        each."""
        return {
            share: torch.cat([by_number[number] for number in numbers]).to(self.model.device)
            for share, by_number in self.layers.items()
        }

    @torch.no_grad()
    def logits(self, numbers: Sequence[int]) -> torch.Tensor:
        """The base's logits at the scored tokens of these rows, in order, (N, V)."""
        hidden_ND = torch.cat([self.hidden[number] for number in numbers]).to(self.model.device)
        if self.head is None:
            return head_logits(self.model, hidden_ND)
        head = self.head
        handle = self.model.get_output_embeddings().register_forward_hook(
            lambda _m, args, _out: head(args[0])
        )
        try:
            return head_logits(self.model, hidden_ND)
        finally:
            handle.remove()
