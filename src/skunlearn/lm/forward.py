"""Logits at scored tokens only: a B x T x V tensor never exists."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from skunlearn.data.batches import Batch


def scored_logits(model: Any, batch: Batch) -> torch.Tensor:
    """The predictions of the scored tokens, (N, V).

    The language head sees only the hidden states that score a token. They are swapped in where the model calls its
    head, so whatever the architecture does to its logits afterwards (soft caps, scales) is done as it would be.
    """
    return _with_head_input(model, batch, lambda hidden_BTD: hidden_BTD[batch.row_N, batch.time_N])


def scored_hidden(model: Any, batch: Batch) -> torch.Tensor:
    """What the language head is given for the scored tokens, (N, D)."""
    seen: list[torch.Tensor] = []

    def keep(hidden_BTD: torch.Tensor) -> torch.Tensor:
        seen.append(hidden_BTD[batch.row_N, batch.time_N])
        return seen[0][:1]

    _with_head_input(model, batch, keep)
    return seen[0]


def head_logits(model: Any, hidden_ND: torch.Tensor) -> torch.Tensor:
    """The logits of hidden states kept earlier, (N, V), through the model's own head.

    One token goes through the body for it, since only the architecture knows what it does to its logits.
    """
    one = torch.zeros(1, 1, dtype=torch.long, device=hidden_ND.device)
    index = torch.zeros(0, dtype=torch.long)
    batch = Batch(one, torch.ones_like(one), index, index, index)
    return _with_head_input(model, batch, lambda _: hidden_ND)


def _with_head_input(model: Any, batch: Batch, choose: Any) -> torch.Tensor:
    with _head_input(model, choose):
        output = model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT, use_cache=False)
    return output.logits.squeeze(0)


@contextmanager
def _head_input(model: Any, choose: Any) -> Iterator[None]:
    def swap(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (choose(args[0]).unsqueeze(0), *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(swap)
    try:
        yield
    finally:
        handle.remove()
