"""Attention for packed rows: all rows of a step are one line of tokens, and only here they are rows again.

A model's own layers see each token once, however many rows begin with it, and no padding. Its attention is called with
each row's queries, keys and values, as for a batch without anything shared.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from skunlearn.data.batches import Batch
from skunlearn.data.template import Encoded
from skunlearn.errors import ModelError

NAME = "skunlearn_packed"
KINDS = {"full_attention", "sliding_attention", "chunked_attention"}  # layers that mix tokens in no other way
_PASS: ContextVar["_Pass"] = ContextVar("packed pass")


@dataclass
class _Pass:
    batch: Batch
    calls: int = 0  # of attention


def packs(decoder: Any, rows: Sequence[Encoded]) -> bool:
    """Whether these rows can go through a model with this decoder packed.

    Its attention must be one that can be exchanged, all of its layers must have it, it must take the tokens' places
    from us, and no row may be longer than what a layer looks back over.
    """
    config = decoder.config.get_text_config()
    windows = [getattr(config, name, None) or None for name in ("sliding_window", "attention_chunk_size")]
    return bool(
        getattr(decoder, "_supports_attention_backend", False)
        and config._attn_implementation == "sdpa"
        and set(getattr(config, "layer_types", None) or ()) <= KINDS
        and "position_ids" in signature(decoder.forward).parameters
        and max(map(len, rows)) <= min((window for window in windows if window), default=float("inf"))
    )


@contextmanager
def packed_attention(decoder: Any, batch: Batch) -> Iterator[None]:
    """A block around one pass over a packed batch, or around a part of one.

    Raises:
        ModelError: when the model did not ask for its attention here, so that rows have seen each other.
    """
    config, this = decoder.config.get_text_config(), _Pass(batch)
    before, token = config._attn_implementation, _PASS.set(this)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _PASS.reset(token)
    if not this.calls:
        raise ModelError(
            f"{type(decoder).__name__} says that its attention can be exchanged, and calls its own: its "
            "`_supports_attention_backend` must be False"
        )


def packed_again(decoder: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a layer that will be computed again for its gradients: a block around it now, and one around it then."""
    this = _PASS.get(None)
    return nullcontext(), nullcontext() if this is None else packed_attention(decoder, this.batch)


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, **options: Any
) -> tuple[torch.Tensor, None]:
    """(1, heads, M, d) each -> (1, M, heads, d)."""
    this = _PASS.get()
    this.calls += 1
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    outputs = []
    for places_BT in this.batch.packed:
        inputs = [x_MHd.index_select(0, places_BT.flatten()).unflatten(0, places_BT.shape) for x_MHd in rows]
        output_BTHd, _ = sdpa_attention_forward(module, *(x.transpose(1, 2) for x in inputs), None, **options)
        outputs.append(output_BTHd.flatten(0, 1))
    return torch.cat(outputs).index_select(0, this.batch.home_M).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
