"""Detectors: linear readings in a few layers that separate harmful prompts from harmless ones.

A detector w reads the inputs x of the last linear module of a decoder layer, at the token position
that predicts the first token of the answer. It is fitted in closed form, as ridge regression:

    w = argmin   1/2 mean_harmful (w x - 1)^2  +  1/2 mean_harmless (w x - t)^2
               + others * mean_other (w x)^2  +  ridge * |w|^2

The first two means are over the deciding positions: those that predict an answer's first token. The
third is over all other positions, where the detector must stay silent, except those of the tokens
that all rows of a batch begin with (the chat template, a system prompt). There is no constant term,
since a weight matrix has none. `DetectorMoments` accumulates the sums and solves for w.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers import Conv1D

from skunlearn.data.batches import Batch
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.methods.base import Detector
from skunlearn.models.architecture import decoder_layers, layer_number
from skunlearn.models.forward import make_batch, recorded_layers, scored_hidden
from skunlearn.models.lm import LM
from skunlearn.models.quantisation import quantised
from skunlearn.training.begun_answers import with_begun
from skunlearn.training.detector_moments import DetectorMoments
from skunlearn.training.rows import Rows
from skunlearn.utils.batching import batched
from skunlearn.utils.distributed import broadcast
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hooks import temporary_hooks
from skunlearn.utils.progress import Progress

BATCH = 64
MAX_ROWS = 384  # of each kind of row, spread evenly over the set
ANSWER_TOKENS = 3  # of each answer, among the positions where a detector must stay silent


@dataclass(frozen=True)
class _Pass:
    """One forward pass of the fit.

    Attributes:
        rows: the rows of the batch, sorted by length.
        rounding: the form that the weights are rounded to, such as "nf4"; "" for none.
        target: what the detector should read at the deciding position of each row.
        weight: of each row's squared error.
    """

    rows: Sequence[Encoded]
    rounding: str
    target: float
    weight: float


@torch.no_grad()
def fit_detectors(
    model: Any,
    harmful: Sequence[Encoded],
    ordinary: Sequence[Encoded],
    lookalike: Sequence[Encoded],
    options: Detector,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """Fit one detector for each layer by ridge regression, as described above.

    The rows go through the weights as they are and through rounded ones (`Detector.roundings`).

    Args:
        model: the base model.
        harmful: rows whose prompts are harmful.
        ordinary: rows whose prompts are harmless.
        lookalike: rows with harmless prompts in the words of harmful ones; may be empty.
        options: the layers, and the constants of the regression.
        progress: reports the batches.

    Returns:
        Name of a linear module -> (1, I): w, times the root mean square of the layer's output at
        the deciding positions. What a detector adds is thereby in the unit of that output, whatever
        the scale of the model.

    Raises:
        ModelError: when a layer has no linear module that writes into the residual stream.
    """
    names = {layer: writer(model, layer) for layer in options.layers}
    moments = {layer: DetectorMoments() for layer in options.layers}
    passes = _passes(harmful, ordinary, lookalike, options)
    for one in progress.over("detectors", passes):
        # Record the inputs of the modules and the outputs of the layers in one forward pass.
        batch = make_batch(model, one.rows)
        weights = quantised(model, one.rounding) if one.rounding else nullcontext()
        with (
            weights,
            _recorded_inputs(model, names.values()) as inputs,
            recorded_layers(model, batch, options.layers) as outputs,
        ):
            _forward_to_layer(model, batch, max(options.layers))

        # The deciding positions: in a batch, each row's scored tokens follow one another.
        first_N = batch.row_N.diff(prepend=batch.row_N.new_tensor([-1])) > 0
        deciding_B = batch.place_N[first_N]
        others_M = _other_positions(batch, deciding_B, _shared_prefix(one.rows))

        # Add their moments to those of the passes before.
        for layer, name in names.items():
            x_MI = inputs[name].reshape(-1, inputs[name].shape[-1])
            moments[layer].add_deciding(x_MI[deciding_B].float(), one.target, one.weight)
            moments[layer].add_others(x_MI, others_M)
            square_B = outputs[layer][first_N].float().square().mean(dim=1)
            moments[layer].output_square += one.weight * float(square_B.sum())

    # Solve for w, and scale it by the size of the layer's output.
    detectors: dict[str, torch.Tensor] = {}
    for layer, name in names.items():
        rms = moments[layer].output_square ** 0.5
        detectors[name] = rms * moments[layer].solve(options.others, options.ridge)
    return detectors


def detectors_of(lm: LM, rows: Rows, progress: Progress) -> dict[str, torch.Tensor] | None:
    """The detectors of a method, fitted on its training rows; None for a method without any.

    Args:
        lm: the base model.
        rows: one row of each forget prompt is harmful, the benign rows are harmless.
        progress: reports the batches.
    """
    options = rows.method.detector
    if options is None:
        return None
    # Of several rows with one prompt the last is taken.
    harmful = {row.prompt_ids: row for row in rows.forget}
    if rows.method.begun_share:
        # A detector that must be silent in begun answers cannot respond in them.
        for row in with_begun(rows.forget, rows.method.begun_share, rows.sampler.seed):
            harmful[row.prompt_ids] = shortened(row, 1)
    ordinary = rows.benign[: rows.first_lookalike]
    lookalike = rows.benign[rows.first_lookalike :]
    fitted = fit_detectors(lm.model, list(harmful.values()), ordinary, lookalike, options, progress)
    # All processes use those of the first: the last bits may differ between devices.
    return broadcast(fitted)


def _other_positions(batch: Batch, deciding_B: torch.Tensor, shared: int) -> torch.Tensor:
    """How many rows have each position of a batch as one where the detector must stay silent, (M,).

    In a packed batch, rows that begin alike share positions.

    Args:
        batch: the rows.
        deciding_B: the deciding position of each row, which is left out.
        shared: so many tokens at the beginning of each row are left out.
    """
    count_M = (batch.rows_BT * (batch.time_BT >= shared)).flatten().float()
    count_M = count_M.index_add(0, deciding_B, count_M.new_full(deciding_B.shape, -1.0))
    return count_M.clamp(min=0)


def _shared_prefix(rows: Sequence[Encoded]) -> int:
    """How many tokens all rows begin with; 0 for a single row."""
    if len(rows) < 2:
        return 0
    shared = 0
    for tokens in zip(*(row.prompt_ids + row.answer_ids for row in rows), strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return shared


def _passes(
    harmful: Sequence[Encoded],
    ordinary: Sequence[Encoded],
    lookalike: Sequence[Encoded],
    options: Detector,
) -> list[_Pass]:
    """The forward passes of the fit.

    Harmful rows, which are few, are read under every rounding. Harmless ones are dealt out: each is
    read under one.
    """
    # Of the half of the weight that harmless rows have, look-alikes have this share.
    share = 0.0
    if lookalike:
        share = options.lookalike if ordinary else 1.0
    roundings = ("", *options.roundings)

    passes: list[_Pass] = []
    rows = _sample(harmful)
    for rounding in roundings:
        for batch in batched(rows, BATCH):
            weight = 0.5 / len(roundings) / len(rows)
            passes.append(_Pass(batch, rounding, 1.0, weight))
    for harmless, kind_weight in ((ordinary, 0.5 * (1 - share)), (lookalike, 0.5 * share)):
        rows = _sample(harmless)
        for number, rounding in enumerate(roundings):
            for batch in batched(rows[number :: len(roundings)], BATCH):
                weight = kind_weight / len(rows)
                passes.append(_Pass(batch, rounding, options.harmless, weight))
    return passes


def _sample(rows: Sequence[Encoded]) -> list[Encoded]:
    """At most MAX_ROWS rows, evenly spread, with shortened answers, from the shortest up."""
    if len(rows) > MAX_ROWS:
        rows = [rows[number * len(rows) // MAX_ROWS] for number in range(MAX_ROWS)]
    return sorted((shortened(row, ANSWER_TOKENS) for row in rows), key=len)


def writer(model: Any, share: float) -> str:
    """The name of the linear module that writes a layer's last contribution to the residual stream.

    This is the second module of the MLP; in a layer with fused experts, it is the output projection
    of the attention.

    Args:
        model: the base model.
        share: the layer, as a share of the depth.

    Raises:
        ModelError: when the layer has no such module.
    """
    number = layer_number(model, share)
    layer = decoder_layers(model)[number]
    residual = model.config.get_text_config().hidden_size

    # Those that write into the residual stream: name within the layer -> width of the inputs. The
    # MLP's has the widest inputs.
    writers: dict[str, int] = {}
    for name, module in layer.named_modules():
        sizes = _sizes(module)
        if sizes and sizes[1] == residual:
            writers[name] = sizes[0]
    if not writers:
        raise ModelError(
            f"layer {number} has no linear module as wide as the residual stream: "
            "take --no-refuse, or --method refusal"
        )
    widest = max(writers.values())
    last = [name for name, width in writers.items() if width == widest][-1]

    paths = [name for name, module in model.named_modules() if module is layer]
    return f"{paths[0]}.{last}"


def _sizes(module: Any) -> tuple[int, int] | None:
    """The input and the output width of a linear module; None for any other module."""
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.nf)
    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    return None


class _ReachedLayerError(Exception):
    """Ends a forward pass at the layer behind which nothing is read."""


def _forward_to_layer(model: Any, batch: Batch, share: float) -> None:
    """Run a forward pass up to a layer, given as a share of the depth, and skip the rest."""

    def stop(_module: Any, _args: Any, _output: Any) -> None:
        raise _ReachedLayerError

    layer = decoder_layers(model)[layer_number(model, share)]
    with temporary_hooks([layer.register_forward_hook(stop)]), suppress(_ReachedLayerError):
        scored_hidden(model, batch)


@contextmanager
def _recorded_inputs(model: Any, names: Iterable[str]) -> Iterator[Mapping[str, torch.Tensor]]:
    """A block in which the latest inputs of these modules are recorded.

    Yields:
        Name of a module -> its inputs in the latest forward pass.
    """
    inputs: dict[str, torch.Tensor] = {}

    def recorder(name: str) -> RemovableHandle:
        def record(_module: Any, args: Any) -> None:
            inputs[name] = args[0]

        return model.get_submodule(name).register_forward_pre_hook(record)

    with temporary_hooks(map(recorder, names)):
        yield inputs
