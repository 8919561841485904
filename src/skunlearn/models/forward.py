"""Logits at scored tokens only: a B x T x V tensor never exists."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import torch

from skunlearn.data.batches import Batch, collate, length_groups, pack
from skunlearn.data.chat_template import Encoded
from skunlearn.models.architecture import decoder_layers, layer_number, text_decoder
from skunlearn.models.packed_attention import may_pack, packed_attention

TRIED = [
    Encoded((2, 5, 3), (4, 5, 2)),
    Encoded((2, 5, 3), (4, 3)),
    Encoded((2, 4, 4, 5, 3, 2), (5, 4, 3)),
]
_PACKS: WeakKeyDictionary[Any, bool] = (
    WeakKeyDictionary()
)  # a model's body -> whether TRIED came out alike
_PUT_OUT: WeakKeyDictionary[Any, Any] = (
    WeakKeyDictionary()
)  # a model's body -> where it was, its output for one token

ANOTHER_PASS = 64  # tokens that a further pass costs: smaller matrices
ANOTHER_GROUP = 256  # tokens that attention to one more group of rows costs


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
    model: Any, rows: Sequence[Encoded], shares: Iterable[float] = (), grouped: bool = True
) -> States:
    """Rows of any length through the body, gradients included.

    Args:
        model: the model, LoRA on it or not.
        rows: prompts with their answers.
        shares: decoder layers whose output is read, as shares of the depth.
        grouped: rows that cannot be packed go in passes of like length, so that little is padding;
            else in one.
    """
    shares = tuple(shares)
    hidden: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    numbers: list[torch.Tensor] = []
    layers: dict[float, list[torch.Tensor]] = {share: [] for share in shares}
    apart = grouped and not can_pack(model, rows)
    groups = (
        length_groups([len(row) for row in rows], ANOTHER_PASS)
        if apart
        else [list(range(len(rows)))]
    )
    for group in groups:
        batch = make_batch(model, [rows[number] for number in group])
        with recorded_layers(model, batch, shares) as read:
            hidden.append(scored_hidden(model, batch))
        labels.append(batch.labels_N)
        numbers.append(torch.tensor(group, device=batch.row_N.device)[batch.row_N])
        for share in shares:
            layers[share].append(read[share])
    row_N, order_N = torch.cat(numbers).sort(stable=True)
    in_order = {share: torch.cat(parts)[order_N] for share, parts in layers.items()}
    return States(torch.cat(hidden)[order_N], torch.cat(labels)[order_N], row_N, in_order)


def make_batch(model: Any, rows: Sequence[Encoded]) -> Batch:
    """The rows for one pass, on the model's device: packed where the model allows it, else
    padded."""
    return (pack(rows, ANOTHER_GROUP) if can_pack(model, rows) else collate(rows)).to(model.device)


@torch.no_grad()
def can_pack(model: Any, rows: Sequence[Encoded]) -> bool:
    """Whether these rows can go packed: by what the model says of itself, and as three short rows
    come out.

    Masks and places that a model makes by itself are seen by nothing else.
    """
    decoder = text_decoder(model)
    if not may_pack(decoder, rows):
        return False
    if decoder not in _PACKS:
        with torch.autocast(model.device.type, enabled=False):
            ours, plain = (
                scored_hidden(model, batch.to(model.device)).float()
                for batch in (pack(TRIED, 0), collate(TRIED))
            )
        rounding = 1e-4 if model.dtype == torch.float32 else 0.05
        _PACKS[decoder] = bool((ours - plain).norm() <= rounding * plain.norm())
    return _PACKS[decoder]


def scored_logits(model: Any, batch: Batch) -> torch.Tensor:
    """The predictions of the scored tokens, (N, V).

    The language head sees only the hidden states that score a token. They are swapped in where the
    model calls its head, so whatever the architecture does to its logits afterwards (soft caps,
    scales) is done as it would be.
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

    The whole model is called for it, since only the architecture knows what it does to its logits.
    Its body puts out again what it made of one token the first time.
    """
    one = torch.zeros(1, 1, dtype=torch.long, device=hidden_ND.device)
    inputs: dict[str, Any] = {
        "input_ids": one,
        "attention_mask": torch.ones_like(one),
        "use_cache": False,
    }
    with _body_skipped(model, inputs), _head_input(model, lambda _: hidden_ND):
        return model(**inputs).logits.squeeze(0)


@contextmanager
def recorded_layers(
    model: Any, batch: Batch, shares: Iterable[float]
) -> Iterator[dict[float, torch.Tensor]]:
    """A block around one pass over `batch`; after it the value holds what these layers put out for
    the scored tokens.

    Args:
        model: the model, LoRA on it or not.
        batch: the rows.
        shares: which layers, as shares of the depth.

    Yields:
        share -> (N, D), filled when the block ends.
    """
    seen: dict[float, torch.Tensor] = {}

    def keep(share: float, output: Any) -> None:
        seen[share] = output[0] if isinstance(output, tuple) else output

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
    for share, hidden_BTD in seen.items():
        seen[share] = hidden_BTD.flatten(0, 1)[batch.place_N]


def _with_head_input(
    model: Any, batch: Batch, choose: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """One pass; `choose` makes of the scored hidden states, (N, D), what the head is given."""
    inputs = (
        {"position_ids": batch.time_BT}
        if batch.packed
        else {"attention_mask": batch.attention_mask}
    )
    rows = packed_attention(text_decoder(model), batch) if batch.packed else nullcontext()
    with (
        rows,
        _head_input(model, lambda hidden_BTD: choose(hidden_BTD.flatten(0, 1)[batch.place_N])),
    ):
        output = model(input_ids=batch.input_ids_BT, use_cache=False, **inputs)
    return output.logits.squeeze(0)


@contextmanager
def _body_skipped(model: Any, inputs: Mapping[str, Any]) -> Iterator[None]:
    """A block in which the body gives, at once, what it made of these inputs the first time that
    any were asked."""
    decoder, head = text_decoder(model), model.get_output_embeddings()
    if any(module is head for module in decoder.modules()):
        yield
        return
    where = model.device, model.dtype
    if decoder not in _PUT_OUT or _PUT_OUT[decoder][0] != where:
        seen: list[Any] = []
        handle = decoder.register_forward_hook(lambda _module, _args, output: seen.append(output))
        try:
            with torch.no_grad():
                model(**inputs)
        finally:
            handle.remove()
        _PUT_OUT[decoder] = where, seen[0]
    with patch.object(decoder, "forward", lambda *_, **__: _PUT_OUT[decoder][1]):
        yield


@contextmanager
def _head_input(model: Any, choose: Any) -> Iterator[None]:
    def swap(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (choose(args[0]).unsqueeze(0), *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(swap)
    try:
        yield
    finally:
        handle.remove()
