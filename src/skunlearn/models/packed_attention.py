"""Attention for packed rows: all rows of a step are one line of tokens, and only here they are rows
again.

A model's own layers see each token once, however many rows begin with it, and no padding. Its
attention is called with each row's queries, keys and values, as for a batch without anything
shared.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from inspect import signature
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from skunlearn.data.batches import Batch
from skunlearn.data.chat_template import Encoded

NAME = "skunlearn_packed"
KINDS = {
    "full_attention",
    "sliding_attention",
    "chunked_attention",
}  # layers that mix tokens in no other way
_BATCH: ContextVar[Batch] = ContextVar("batch")


def may_pack(decoder: Any, rows: Sequence[Encoded]) -> bool:
    """Whether these rows could go packed through a model with this decoder, by what it says of
    itself.

    Its attention can be exchanged, all of its layers have it, it takes the tokens' places from us
    and scales nothing by places of its own, and no row is longer than what a layer looks back over.
    """
    if not getattr(decoder, "_supports_attention_backend", False):
        return False
    config = decoder.config.get_text_config()
    windows = [
        getattr(config, name, None) or float("inf")
        for name in ("sliding_window", "attention_chunk_size")
    ]
    return (
        config._attn_implementation == "sdpa"
        and set(getattr(config, "layer_types", None) or ()) <= KINDS
        and "position_ids" in signature(decoder.forward).parameters
        and not getattr(config, "attn_temperature_tuning", False)
        and config.model_type
        != "doge"  # its learnt masks may do too little to be seen in a trial of half precision
        and max(map(len, rows)) <= min(windows)
    )


@contextmanager
def packed_attention(decoder: Any, batch: Batch) -> Iterator[None]:
    """A block around one pass over a packed batch, or around a part of one."""
    config = decoder.config.get_text_config()
    before, token = config._attn_implementation, _BATCH.set(batch)
    config._attn_implementation_internal = (
        NAME  # of this config alone: the setter would reach those inside it
    )
    try:
        yield
    finally:
        config._attn_implementation_internal = before
        _BATCH.reset(token)


def packed_again(decoder: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a layer that will be computed again for its gradients: a block around it now, and one
    around it then."""
    batch = _BATCH.get(None)
    return nullcontext(), nullcontext() if batch is None else packed_attention(decoder, batch)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """(1, heads, M, d) each -> (1, M, heads, d)."""
    batch = _BATCH.get()
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    outputs = []
    for places_BT in batch.packed:
        inputs = [
            x_MHd.index_select(0, places_BT.flatten()).unflatten(0, places_BT.shape)
            for x_MHd in rows
        ]
        output_BTHd, _ = sdpa_attention_forward(
            module, *(x.transpose(1, 2) for x in inputs), None, **options
        )
        outputs.append(output_BTHd.flatten(0, 1))
    return torch.cat(outputs).index_select(0, batch.home_M).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
