"""Gates: linear readings by which a layer tells harmful requests from harmless ones, before the
answer begins."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import takewhile
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.data.batches import Batch
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.methods.base import Detector
from skunlearn.models.architecture import decoder_layers, layer_number
from skunlearn.models.forward import make_batch, recorded_layers, scored_hidden
from skunlearn.models.lm import LM
from skunlearn.models.quantisation import quantised
from skunlearn.training.rows import Rows
from skunlearn.utils.distributed import broadcast
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 64
MOST_ROWS = 256  # of each kind, evenly spread
TOKENS = 3  # of the answers, among which a gate must stay shut


@torch.no_grad()
def fit_detectors(
    model: Any,
    harmful: Sequence[Encoded],
    ordinary: Sequence[Encoded],
    lookalike: Sequence[Encoded],
    gate: Detector,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """The least-squares reading of each layer, from the inputs x of its last linear module.

        w = argmin 1/2 mean_harmful (wx - 1)^2 + 1/2 mean_harmless (wx - t)^2 + others mean_other
        (wx)^2 + ridge |w|^2

    The first two means are over the token that predicts an answer's first one, the third is over
    all other tokens of these rows but those that a whole batch begins with (the template, a system
    prompt). There is no constant term: a weight matrix has none. The rows go through the weights as
    they are and through rounded ones (`Gate.roundings`).

    Args:
        model: the base.
        harmful: rows whose prompts open the gates.
        ordinary: rows whose prompts do not.
        lookalike: harmless rows in the words of harmful ones; may be empty.
        gate: where, and how.
        progress: is told of the batches.

    Returns:
        Name of a linear module -> (1, I): w, times the root mean square of the layer's output
        there, so that what a gate adds is counted in that unit whatever the model's scale.

    Raises:
        ModelError: when a layer has no linear module that writes into the residual stream.
    """
    names = {layer: writer(model, layer) for layer in gate.layers}
    sums = {layer: _Sums() for layer in gate.layers}
    for form, rows, target, share in progress.over(
        "gates", _passes(harmful, ordinary, lookalike, gate)
    ):
        batch, shared = make_batch(model, rows), _shared(rows)
        weights = quantised(model, form) if form else nullcontext()
        with (
            weights,
            _inputs(model, names.values()) as seen,
            recorded_layers(model, batch, gate.layers) as read,
        ):
            _through(model, batch, max(gate.layers))
        first_N = batch.row_N.diff(prepend=batch.row_N.new_tensor([-1])) > 0
        for layer, name in names.items():
            sums[layer].add(
                seen[name].reshape(-1, seen[name].shape[-1]),
                batch,
                batch.place_N[first_N],
                shared,
                target,
                share,
            )
            sums[layer].square += share * float(
                read[layer][first_N].float().square().mean(dim=1).sum()
            )
    return {
        name: sums[layer].square ** 0.5 * sums[layer].solved(gate) for layer, name in names.items()
    }


def detectors_of(lm: LM, rows: Rows, progress: Progress) -> dict[str, torch.Tensor] | None:
    """The gates of the rows' method, where it has any: a row of each harmful prompt against
    harmless ones."""
    if rows.method.detector is None:
        return None
    asked = [*{row.prompt_ids: row for row in rows.forget}.values()]
    ordinary, alike = rows.benign[: rows.first_lookalike], rows.benign[rows.first_lookalike :]
    fitted = fit_detectors(lm.model, asked, ordinary, alike, rows.method.detector, progress)
    return broadcast(fitted)  # the first process's: others' last bits may differ


def _shared(rows: Sequence[Encoded]) -> int:
    """How many tokens all rows begin with; of a single row none."""
    alike = takewhile(
        lambda tokens: len(set(tokens)) == 1,
        zip(*(row.prompt_ids + row.answer_ids for row in rows), strict=False),
    )
    return len(list(alike)) if len(rows) > 1 else 0


class _EnoughError(Exception):
    """What is wanted has been read."""


def _through(model: Any, batch: Batch, share: float) -> None:
    """The rows through the layers up to this one, the rest being of no interest."""

    def stop(_module: Any, _args: Any, _output: Any) -> None:
        raise _EnoughError

    handle = decoder_layers(model)[layer_number(model, share)].register_forward_hook(stop)
    try:
        with suppress(_EnoughError):
            scored_hidden(model, batch)
    finally:
        handle.remove()


class _Sums:
    """Second moments of a module's inputs, what they shall be read as, and the square of the
    layer's outputs."""

    def __init__(self) -> None:
        self.deciding_II = self.others_II = self.wanted_I = torch.zeros(())
        self.tokens, self.square = 0, 0.0

    def add(
        self,
        x_MI: torch.Tensor,
        batch: Batch,
        place_B: torch.Tensor,
        shared: int,
        target: float,
        share: float,
    ) -> None:
        """Inputs of a batch's rows, which share so many tokens, and whose answers' first ones are
        predicted there."""
        rows_M = (batch.rows_BT * (batch.time_BT >= shared)).flatten().float()
        rows_M = rows_M.index_add(0, place_B, rows_M.new_full(place_B.shape, -1.0)).clamp(min=0)
        others_M = rows_M > 0
        x_BI, x_NI = (
            x_MI[place_B].float(),
            x_MI[others_M].float() * rows_M[others_M].sqrt().unsqueeze(1),
        )
        if not self.tokens:
            self.deciding_II, self.others_II = (
                x_BI.new_zeros(x_BI.shape[1], x_BI.shape[1]) for _ in range(2)
            )
        self.deciding_II.addmm_(x_BI.T, x_BI, alpha=share)  # in place: these are large
        self.others_II.addmm_(x_NI.T, x_NI)
        self.wanted_I = self.wanted_I.to(x_BI.device) + share * target * x_BI.sum(dim=0)
        self.tokens += int(rows_M.sum())

    def solved(self, gate: Detector) -> torch.Tensor:
        """w, (1, I), on the CPU."""
        moments_II = (
            (self.deciding_II + gate.others * self.others_II / max(self.tokens, 1)).cpu().double()
        )
        moments_II.diagonal().add_(gate.ridge * moments_II.diagonal().mean())
        return torch.linalg.solve(moments_II, self.wanted_I.cpu().double()).float().unsqueeze(0)


def writer(model: Any, share: float) -> str:
    """The linear module that makes a layer's last contribution: the MLP's second; with fused
    experts the attention's.

    Raises:
        ModelError: when it has none.
    """
    number = layer_number(model, share)
    width = model.config.get_text_config().hidden_size
    sizes = {
        name: _sizes(module)
        for name, module in decoder_layers(model)[number].named_modules()
        if _sizes(module)
    }
    inputs = {name: size[0] for name, size in sizes.items() if size and size[1] == width}
    if not inputs:
        raise ModelError(
            f"layer {number} has no linear module as wide as the residual stream: take --no-refuse, or --method refusal"
        )
    last = [name for name, size in inputs.items() if size == max(inputs.values())][-1]
    layer = decoder_layers(model)[number]
    return next(f"{name}.{last}" for name, module in model.named_modules() if module is layer)


def _sizes(module: Any) -> tuple[int, int] | None:
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.nf)
    return (
        (module.in_features, module.out_features) if isinstance(module, torch.nn.Linear) else None
    )


def _passes(
    harmful: Sequence[Encoded],
    ordinary: Sequence[Encoded],
    lookalike: Sequence[Encoded],
    gate: Detector,
) -> list[tuple[str, list[Encoded], float, float]]:
    """Rows of each pass, with the form that the weights are rounded to ("" for none), the target
    and the weight of a row. Harmful rows, which are few, go through all forms, each harmless one
    through one of them."""
    alike = (gate.lookalike if ordinary else 1.0) if lookalike else 0.0
    forms = ("", *gate.roundings)
    passes = []
    for rows, target, share, apart in (
        (_some(harmful), 1.0, 0.5 / len(forms), False),
        (_some(ordinary), gate.harmless, 0.5 * (1 - alike), True),
        (_some(lookalike), gate.harmless, 0.5 * alike, True),
    ):
        for number, form in enumerate(forms):
            mine = rows[number :: len(forms)] if apart else rows
            for at in range(0, len(mine), ROWS_AT_ONCE):
                passes.append((form, mine[at : at + ROWS_AT_ONCE], target, share / len(rows)))
    return passes


def _some(rows: Sequence[Encoded]) -> list[Encoded]:
    if len(rows) > MOST_ROWS:
        rows = [rows[number * len(rows) // MOST_ROWS] for number in range(MOST_ROWS)]
    return sorted((shortened(row, TOKENS) for row in rows), key=len)


@contextmanager
def _inputs(model: Any, names: Any) -> Iterator[dict[str, torch.Tensor]]:
    """A block in which the latest inputs of these modules are kept by name."""
    seen: dict[str, torch.Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _m, args, name=name: seen.__setitem__(name, args[0])
        )
        for name in names
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
