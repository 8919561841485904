"""Logits at scored tokens only: a B x T x V tensor never exists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache

from skunlearn.data.batches import Batch

LEAST_SHARED = 8  # tokens; below that a second call costs more than it saves


def scored_logits(model: Any, batch: Batch) -> torch.Tensor:
    """The predictions of the scored tokens, (N, V).

    The language head sees only the hidden states that score a token. They are swapped in where the model calls its
    head, so whatever the architecture does to its logits afterwards (soft caps, scales) is done as it would be.
    """
    return _with_head_input(model, batch, lambda hidden_ND: hidden_ND)


def scored_hidden(model: Any, batch: Batch) -> torch.Tensor:
    """What the language head is given for the scored tokens, (N, D)."""
    seen: list[torch.Tensor] = []

    def keep(hidden_ND: torch.Tensor) -> torch.Tensor:
        seen.append(hidden_ND)
        return hidden_ND[:1]

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


def _with_head_input(model: Any, batch: Batch, choose: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """One pass; `choose` makes of the scored hidden states, (N, D), what the head is given.

    What all rows begin with (the template, a system prompt) goes through the body once, gradients included.
    """
    start = _shared(batch)
    inputs: dict[str, Any] = {"attention_mask": batch.attention_mask_BT, "use_cache": False}
    if start:
        inputs |= {"past_key_values": _prefix(model, batch, start), "use_cache": True}
    with _head_input(model, lambda hidden_BTD: choose(hidden_BTD[batch.row_N, batch.time_N - start])):
        output = model(input_ids=batch.input_ids_BT[:, start:], **inputs)
    return output.logits.squeeze(0)


def _shared(batch: Batch) -> int:
    """How many tokens all rows begin with, none of them one that predicts a scored token; 0 if too few to matter."""
    ids_BT = batch.input_ids_BT
    if len(ids_BT) < 2 or not len(batch.time_N):
        return 0
    same = (ids_BT == ids_BT[:1]).all(dim=0)[: int(batch.time_N.min())]
    shared = int(same.long().cumprod(dim=0).sum())
    return shared if shared >= LEAST_SHARED else 0


def _prefix(model: Any, batch: Batch, length: int) -> DynamicCache:
    """Keys and values of the first tokens, repeated for every row."""
    cache = DynamicCache(config=model.config)
    first_1T = batch.input_ids_BT[:1, :length]
    mask_1T = torch.ones_like(first_1T)
    model(input_ids=first_1T, attention_mask=mask_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(batch.input_ids_BT))
    return cache


@contextmanager
def _head_input(model: Any, choose: Any) -> Iterator[None]:
    def swap(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (choose(args[0]).unsqueeze(0), *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(swap)
    try:
        yield
    finally:
        handle.remove()
