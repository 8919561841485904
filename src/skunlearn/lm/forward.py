"""Logits at scored tokens only: a B x T x V tensor never exists."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from skunlearn.data.batches import Batch, collate, length_groups
from skunlearn.data.template import Encoded
from skunlearn.errors import ConfigError, ModelError

LEAST_SHARED = 8  # tokens; below that a second call costs more than it saves
ANOTHER_PASS = 64  # tokens that a further pass costs: the shared beginning again, and smaller matrices


@dataclass(frozen=True)
class States:
    """What the scored tokens of some rows are to the model, in the order of the rows.

    Attributes:
        hidden_ND: what the language head is given.
        labels_N: the scored tokens.
        row_N: the row of each.
        layers: share of the depth -> (N, D), what that decoder layer puts out.
    """

    hidden_ND: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    layers: dict[float, torch.Tensor]


def scored_states(
    model: Any, rows: Sequence[Encoded], shares: Iterable[float] = (), grouped: bool = True, prefix: bool = True
) -> States:
    """Rows of any length through the body, gradients included.

    Args:
        model: the model, LoRA on it or not.
        rows: prompts with their answers.
        shares: decoder layers whose output is read, as shares of the depth.
        grouped: in passes of like length, so that little is padding; else in one.
        prefix: what all rows of a pass begin with goes through once.
    """
    shares = tuple(shares)
    hidden: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    numbers: list[torch.Tensor] = []
    layers: dict[float, list[torch.Tensor]] = {share: [] for share in shares}
    groups = length_groups([len(row) for row in rows], ANOTHER_PASS) if grouped else [list(range(len(rows)))]
    for group in groups:
        batch = collate([rows[number] for number in group]).to(model.device)
        with reading(model, batch, shares) as read:
            hidden.append(scored_hidden(model, batch, prefix))
        labels.append(batch.labels_N)
        numbers.append(torch.tensor(group, device=batch.row_N.device)[batch.row_N])
        for share in shares:
            layers[share].append(read[share])
    row_N, order_N = torch.cat(numbers).sort(stable=True)
    in_order = {share: torch.cat(parts)[order_N] for share, parts in layers.items()}
    return States(torch.cat(hidden)[order_N], torch.cat(labels)[order_N], row_N, in_order)


def scored_logits(model: Any, batch: Batch) -> torch.Tensor:
    """The predictions of the scored tokens, (N, V).

    The language head sees only the hidden states that score a token. They are swapped in where the model calls its
    head, so whatever the architecture does to its logits afterwards (soft caps, scales) is done as it would be.
    """
    return _with_head_input(model, batch, lambda hidden_ND: hidden_ND)


def scored_hidden(model: Any, batch: Batch, prefix: bool = True) -> torch.Tensor:
    """What the language head is given for the scored tokens, (N, D); `prefix` as for `scored_states`."""
    seen: list[torch.Tensor] = []

    def keep(hidden_ND: torch.Tensor) -> torch.Tensor:
        seen.append(hidden_ND)
        return hidden_ND[:1]

    _with_head_input(model, batch, keep, prefix)
    return seen[0]


def head_logits(model: Any, hidden_ND: torch.Tensor) -> torch.Tensor:
    """The logits of hidden states kept earlier, (N, V), through the model's own head.

    One token goes through the body for it, since only the architecture knows what it does to its logits.
    """
    one = torch.zeros(1, 1, dtype=torch.long, device=hidden_ND.device)
    index = torch.zeros(0, dtype=torch.long)
    batch = Batch(one, torch.ones_like(one), index, index, index)
    return _with_head_input(model, batch, lambda _: hidden_ND)


def layer_number(model: Any, share: float) -> int:
    """The decoder layer, from 0, behind which this share of the depth has been passed.

    Raises:
        ConfigError: when the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"layer {share}: give a share of the depth, above 0 and at most 1")
    return max(round(share * len(decoder_layers(model))), 1) - 1


def depth_of(model: Any, shares: Iterable[float]) -> int | None:
    """How many layers, from the bottom, a loss on the outputs of these layers depends on; None when there are none."""
    return max((layer_number(model, share) + 1 for share in shares), default=None)


@contextmanager
def reading(model: Any, batch: Batch, shares: Iterable[float]) -> Iterator[dict[float, torch.Tensor]]:
    """A block around one pass over `batch`; after it the value holds what these layers put out for the scored tokens.

    Args:
        model: the model, LoRA on it or not.
        batch: the rows.
        shares: which layers, as shares of the depth.

    Yields:
        share -> (N, D), filled when the block ends.
    """
    seen: dict[float, torch.Tensor] = {}

    def keep(share: float, output: Any) -> None:
        seen[share] = output[0] if isinstance(output, tuple) else output  # the shared beginning passes first, and goes

    handles = [
        decoder_layers(model)[layer_number(model, share)].register_forward_hook(
            lambda _module, _args, output, share=share: keep(share, output)
        )
        for share in shares
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    time_N = batch.time_N - batch.input_ids_BT.shape[1]  # from the end, where both kinds of pass agree
    for share, hidden_BTD in seen.items():
        seen[share] = hidden_BTD[batch.row_N, time_N]


def body(model: Any) -> Any:
    """The decoder of text, in a model of images and text too; the whole model where it names none."""
    found = model.get_decoder() if hasattr(model, "get_decoder") else None
    return model if found is None else found


def places(model: Any) -> float:
    """How many tokens a model has learnt places for; infinite where places are computed."""
    learnt = any(name.rpartition(".")[2] in ("wpe", "embed_positions") for name, _ in model.named_modules())
    return float(model.config.get_text_config().max_position_embeddings) if learnt else float("inf")


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The layers of the body, from the bottom.

    Raises:
        ModelError: when none are found.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in body(model).modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return module
    raise ModelError(
        f"{type(model).__name__}: no list of {depth} decoder layers was found: take a method that reads none"
    )


def _with_head_input(
    model: Any, batch: Batch, choose: Callable[[torch.Tensor], torch.Tensor], prefix: bool = True
) -> torch.Tensor:
    """One pass; `choose` makes of the scored hidden states, (N, D), what the head is given.

    What all rows begin with (the template, a system prompt) goes through the body once, gradients included.
    """
    start = _shared(batch) if prefix else 0
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
