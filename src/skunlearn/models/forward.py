"""Forward passes with logits at scored tokens only: a B x T x V tensor never exists.

The language head is the model's own, and the model itself calls it, because what happens to the
logits afterwards (soft caps, scales) depends on the architecture. A hook on the head exchanges its
input: the hidden states of scored tokens instead of those of all tokens.

Rows go through the body packed where the model allows it (see `packed_attention`), else padded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from skunlearn.data.batches import Batch, collate, length_groups, pack
from skunlearn.data.chat_template import Encoded
from skunlearn.models.architecture import decoder_layers, layer_number, text_decoder
from skunlearn.models.packed_attention import may_pack, packed_attention
from skunlearn.utils.hooks import temporary_hooks

# The rows of the trial in `can_pack`: a prompt with two answers, and a longer row that begins like
# them. Packed, they share tokens and have different lengths.
TRIED = [
    Encoded((2, 5, 3), (4, 5, 2)),
    Encoded((2, 5, 3), (4, 3)),
    Encoded((2, 4, 4, 5, 3, 2), (5, 4, 3)),
]

# What smaller matrices cost, in tokens: of one more pass over fewer rows, and of one more group of
# rows in packed attention.
ANOTHER_PASS = 64
ANOTHER_GROUP = 256

_TRIALS = "_skunlearn_trials"


@dataclass
class _Trials:
    """What trial passes through a model have shown.

    `_trials` keeps one as an attribute of the model's text decoder, so that it lives as long as the
    decoder does and a PEFT model shares it with its base model. It is not part of the state dict.

    Attributes:
        packs: whether packed rows come out like padded ones; None before the trial.
        where: device and type of the model when `body_output` was recorded.
        body_output: what the decoder returned for one token.
    """

    packs: bool | None = None
    where: tuple[torch.device, torch.dtype] | None = None
    body_output: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Trials":
        """A copy of a model has shown nothing yet."""
        return _Trials()


def _trials(decoder: Any) -> _Trials:
    """Return the decoder's record, empty at first. This is the only place that sets it."""
    # `vars`, because `getattr` of a PEFT model also finds the attributes of its base model.
    if _TRIALS not in vars(decoder):
        setattr(decoder, _TRIALS, _Trials())
    return vars(decoder)[_TRIALS]


@dataclass(frozen=True)
class States:
    """Hidden states of the scored tokens of some rows, in the order of the rows.

    Attributes:
        hidden_ND: the input of the language head.
        labels_N: the scored tokens.
        row_N: the row that each belongs to.
        layers: share of the depth -> output of that decoder layer, (N, D).
    """

    hidden_ND: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    layers: dict[float, torch.Tensor]


def scored_states(
    model: Any, rows: Sequence[Encoded], shares: Iterable[float] = (), grouped: bool = True
) -> States:
    """Run rows of any length through the body, with gradients where they are enabled.

    Args:
        model: the model, with or without LoRA.
        rows: prompts with their answers.
        shares: the decoder layers whose output is recorded, as shares of the depth.
        grouped: divide rows that cannot be packed into several passes of like length, so that
            little is padding; else all rows go in one pass.
    """
    shares = tuple(shares)
    groups = [list(range(len(rows)))]
    if grouped and not can_pack(model, rows):
        groups = length_groups([len(row) for row in rows], ANOTHER_PASS)

    hidden: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    numbers: list[torch.Tensor] = []
    layers: dict[float, list[torch.Tensor]] = {share: [] for share in shares}
    for group in groups:
        batch = make_batch(model, [rows[number] for number in group])
        with recorded_layers(model, batch, shares) as outputs:
            hidden.append(scored_hidden(model, batch))
        labels.append(batch.labels_N)
        # The batch counts its own rows from 0; `group` holds their numbers among all rows.
        numbers.append(torch.tensor(group, device=batch.row_N.device)[batch.row_N])
        for share in shares:
            layers[share].append(outputs[share])

    # Back to the order of the rows. The sort is stable: the tokens of a row stay in order.
    row_N, order_N = torch.cat(numbers).sort(stable=True)
    layers_in_order = {}
    for share, parts in layers.items():
        layers_in_order[share] = torch.cat(parts)[order_N]
    return States(torch.cat(hidden)[order_N], torch.cat(labels)[order_N], row_N, layers_in_order)


def make_batch(model: Any, rows: Sequence[Encoded]) -> Batch:
    """Return the rows as one batch on the model's device: packed if possible, else padded."""
    batch = pack(rows, ANOTHER_GROUP) if can_pack(model, rows) else collate(rows)
    return batch.to(model.device)


@torch.no_grad()
def can_pack(model: Any, rows: Sequence[Encoded]) -> bool:
    """Return whether these rows can go packed through this model.

    The model's class and config must allow it. Masks and positions that a model makes inside itself
    show in its outputs alone, so the first call also runs three short rows both ways and compares.

    Args:
        model: the model, with or without LoRA.
        rows: prompts with their answers.
    """
    decoder = text_decoder(model)
    if not may_pack(decoder, rows):
        return False
    trials = _trials(decoder)
    if trials.packs is None:
        # Autocast would add rounding errors of its own to the difference.
        with torch.autocast(model.device.type, enabled=False):
            packed_ND = scored_hidden(model, pack(TRIED, 0).to(model.device)).float()
            padded_ND = scored_hidden(model, collate(TRIED).to(model.device)).float()
        rounding = 1e-4 if model.dtype == torch.float32 else 0.05
        difference = (packed_ND - padded_ND).norm()
        trials.packs = bool(difference <= rounding * padded_ND.norm())
    return trials.packs


def scored_logits(model: Any, batch: Batch) -> torch.Tensor:
    """Return the logits that predict the scored tokens, (N, V)."""
    return _run(model, batch, lambda hidden_ND: hidden_ND)


def scored_hidden(model: Any, batch: Batch) -> torch.Tensor:
    """Return the input of the language head at the scored tokens, (N, D)."""
    seen: list[torch.Tensor] = []

    def record(hidden_ND: torch.Tensor) -> torch.Tensor:
        seen.append(hidden_ND)
        # The model calls its head anyway; for one token that costs next to nothing.
        return hidden_ND[:1]

    _run(model, batch, record)
    return seen[0]


def head_logits(model: Any, hidden_ND: torch.Tensor) -> torch.Tensor:
    """Return the logits of hidden states that were recorded earlier, (N, V).

    The whole model is called on one token, since what it does to its logits depends on the
    architecture. Its body is skipped, and its head gets `hidden_ND` instead of the body's output.

    Args:
        model: the model, with or without LoRA.
        hidden_ND: as `scored_hidden` returns them.
    """
    token_11 = torch.zeros(1, 1, dtype=torch.long, device=hidden_ND.device)
    inputs: dict[str, Any] = {
        "input_ids": token_11,
        "attention_mask": torch.ones_like(token_11),
        "use_cache": False,
    }
    with _skipped_body(model, inputs), _replaced_head_input(model, lambda _: hidden_ND):
        return model(**inputs).logits.squeeze(0)


@contextmanager
def recorded_layers(
    model: Any, batch: Batch, shares: Iterable[float]
) -> Iterator[dict[float, torch.Tensor]]:
    """A block around one pass over `batch`, which records outputs of decoder layers.

    Args:
        model: the model, with or without LoRA.
        batch: the rows.
        shares: which layers, as shares of the depth.

    Yields:
        share -> outputs at the scored tokens, (N, D); complete when the block has ended.
    """
    outputs: dict[float, torch.Tensor] = {}

    def record(share: float, _module: Any, _args: Any, output: Any) -> None:
        outputs[share] = output[0] if isinstance(output, tuple) else output

    def register() -> Iterator[RemovableHandle]:
        for share in shares:
            layer = decoder_layers(model)[layer_number(model, share)]
            yield layer.register_forward_hook(partial(record, share))

    with temporary_hooks(register()):
        yield outputs
    for share, hidden_BTD in outputs.items():
        outputs[share] = hidden_BTD.flatten(0, 1)[batch.place_N]


def _run(
    model: Any, batch: Batch, head_input: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Run one pass and returns the logits of what the language head got.

    Args:
        model: the model, with or without LoRA.
        batch: the rows, packed or padded.
        head_input: computes the input of the head, (any number, D), from the hidden states at the
            scored tokens, (N, D).
    """

    def replace(hidden_BTD: torch.Tensor) -> torch.Tensor:
        return head_input(hidden_BTD.flatten(0, 1)[batch.place_N])

    inputs: dict[str, Any] = {"input_ids": batch.input_ids_BT, "use_cache": False}
    attention: Any = nullcontext()
    if batch.packed:
        # The line is in no row's order: each token's position in its row is given.
        inputs["position_ids"] = batch.time_BT
        attention = packed_attention(text_decoder(model), batch)
    else:
        inputs["attention_mask"] = batch.attention_mask
    with attention, _replaced_head_input(model, replace):
        return model(**inputs).logits.squeeze(0)


@contextmanager
def _skipped_body(model: Any, inputs: dict[str, Any]) -> Iterator[None]:
    """A block in which the text decoder returns a recorded output instead of computing one.

    Where no body apart from the head is found, it is not skipped.

    Args:
        model: the model, with or without LoRA.
        inputs: one token, for the pass that records the output when there is none yet.
    """
    decoder = text_decoder(model)
    head = model.get_output_embeddings()
    if any(module is head for module in decoder.modules()):
        yield
        return
    output = _body_output(model, decoder, inputs)
    # An attribute of the instance hides the class's `forward`. There may already be one, of
    # accelerate for example, which has to come back.
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_args, **_options: output
    try:
        yield
    finally:
        if own is None:
            del decoder.forward
        else:
            decoder.forward = own


def _body_output(model: Any, decoder: Any, inputs: dict[str, Any]) -> Any:
    """Return what the decoder put out for one token, in a pass that is run at the first call.

    Its hidden states are of no account, since the head gets others; but the architecture's own
    class of output, on the right device, is what the model goes on with.
    """
    trials = _trials(decoder)
    where = (model.device, model.dtype)
    if trials.where != where:
        seen: list[Any] = []
        hook = decoder.register_forward_hook(lambda _module, _args, output: seen.append(output))
        with temporary_hooks([hook]), torch.no_grad():
            model(**inputs)
        trials.where = where
        trials.body_output = seen[0]
    return trials.body_output


@contextmanager
def _replaced_head_input(
    model: Any, replace: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """A block in which the language head gets other hidden states than the body's.

    Args:
        model: the model, with or without LoRA.
        replace: computes them, (N, D), from the head's usual input, (B, T, D).
    """

    def swap(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (replace(args[0]).unsqueeze(0), *args[1:])

    with temporary_hooks([model.get_output_embeddings().register_forward_pre_hook(swap)]):
        yield
