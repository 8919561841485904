"""Attention for packed rows: one line of tokens everywhere else, separate rows only here.

`skunlearn.data.batches.pack` writes all rows of a batch into one line, without padding, and writes
a beginning that several rows share once. Embeddings, MLPs and norms treat every token by itself, so
that they need not know about rows: they compute each shared token once. Attention is the one layer
that mixes tokens. It is replaced by `_attention`, which

1. picks the queries, keys and values of each row out of the line, group by group,
2. calls the usual attention on them, as for a batch in which nothing is shared,
3. picks the result of each token of the line out of one of the rows that contain it. All rows that
   contain it agree: a causal layer gives a token what depends on its row's beginning alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from inspect import signature
from typing import Any

import torch
from transformers import AttentionInterface

# The documented example of a custom attention function imports it from here too.
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from skunlearn.data.batches import Batch
from skunlearn.data.chat_template import Encoded
from skunlearn.models.compat import attention_implementation, replaced_attention

NAME = "skunlearn_packed"

# Layers of these kinds mix tokens by attention alone; a linear or convolutional one does not.
KINDS = {"full_attention", "sliding_attention", "chunked_attention"}

# The batch of the forward pass that is running. An attention function is called by the model, which
# passes nothing of ours on to it.
_BATCH: ContextVar[Batch] = ContextVar("batch")


def may_pack(decoder: Any, rows: Sequence[Encoded]) -> bool:
    """Return whether these rows could be packed, as far as the model's class and config say.

    A mask that a model builds inside itself is in neither; `forward.can_pack` tries it out.

    Args:
        decoder: the text decoder.
        rows: prompts with their answers.
    """
    # The attention function must be exchangeable, and it must be the one that is called per row.
    exchangeable = getattr(decoder, "is_backend_compatible", None)
    if exchangeable is None or not exchangeable():
        return False
    config = decoder.config.get_text_config()
    if attention_implementation(config) != "sdpa":
        return False
    # No layer may mix the tokens of different rows in another way.
    if not set(getattr(config, "layer_types", None) or ()) <= KINDS:
        return False
    # Neighbours in the line are not neighbours in a row, so positions must come from us alone.
    takes_positions = "position_ids" in signature(decoder.forward).parameters
    if not takes_positions or getattr(config, "attn_temperature_tuning", False):
        return False
    # Doge learns its masks: in half precision, the trial could miss them while they do little.
    if config.model_type == "doge":
        return False
    # Attention inside a row is called without a mask, so that no window may cut a row.
    longest = max(map(len, rows))
    for name in ("sliding_window", "attention_chunk_size"):
        size = getattr(config, name, None)
        if size and longest > size:
            return False
    return True


@contextmanager
def packed_attention(decoder: Any, batch: Batch) -> Iterator[None]:
    """A block around a forward pass over a packed batch, or around a part of one.

    Args:
        decoder: the text decoder, for which `may_pack` is true.
        batch: the packed batch.
    """
    token = _BATCH.set(batch)
    try:
        with replaced_attention(decoder.config.get_text_config(), NAME):
            yield
    finally:
        _BATCH.reset(token)


def packed_again(decoder: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The two contexts of a checkpointed layer, for `context_fn` of torch's `checkpoint`.

    A checkpointed layer is computed again in the backward pass, when the block of
    `packed_attention` around the forward pass has ended.

    Args:
        decoder: the text decoder.

    Returns:
        A context for the computation now, which is inside that block already, and one for the
        computation in the backward pass.
    """
    batch = _BATCH.get(None)
    if batch is None:
        return nullcontext(), nullcontext()
    return nullcontext(), packed_attention(decoder, batch)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of the running packed batch.

    Args:
        module: the model's attention module.
        query: of the line's M tokens, (1, heads, M, d).
        key: (1, key-value heads, M, d).
        value: (1, key-value heads, M, d).
        attention_mask: none; causality is the only mask within a row.
        options: what the model passes on to any attention function.

    Returns:
        (1, M, heads, d), and no attention weights.
    """
    batch = _BATCH.get()
    line = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    outputs = []
    for positions_BT in batch.packed:
        # One group of rows of like length. The padding on the right holds any token's values; being
        # causal, attention gives them to no token before it.
        rows = []
        for x_MHd in line:
            x_BTHd = x_MHd.index_select(0, positions_BT.flatten()).unflatten(0, positions_BT.shape)
            rows.append(x_BTHd.transpose(1, 2))
        output_BTHd, _ = sdpa_attention_forward(module, *rows, None, **options)
        outputs.append(output_BTHd.flatten(0, 1))
    # Back to the line: each token from one of the rows that contain it.
    return torch.cat(outputs).index_select(0, batch.home_M).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
