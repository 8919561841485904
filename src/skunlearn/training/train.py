"""The one training loop: any method, LoRA or full weights, in -> TaskVector."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method, Scored
from skunlearn.models.architecture import layers_needed
from skunlearn.models.forward import head_logits
from skunlearn.models.lm import LM
from skunlearn.models.reference import Reference
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.allocator import freed_memory_kept
from skunlearn.training.checkpoint import Checkpoint
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.detectors import detectors_of
from skunlearn.training.fsdp import unsharded
from skunlearn.training.gradient_cache import GradientCache
from skunlearn.training.lora import TrainableModel
from skunlearn.training.rows import Rows, scored_tokens
from skunlearn.training.trainable import LoraOptions, moves_head
from skunlearn.utils.distributed import average_gradients
from skunlearn.utils.errors import ConfigError, TrainingError
from skunlearn.utils.progress import Progress

Record = dict[str, float]


@dataclass(frozen=True)
class TrainOptions:
    """How stage 1 is trained.

    Attributes:
        steps: optimiser steps (1 or more).
        batch: rows of each set in a step (1 or more).
        lr: peak learning rate of AdamW, reached at once and decayed linearly to 0.
        clip: largest gradient norm.
        checkpoint: steps between two private states for resuming.
        seed: of the order of rows and LoRA's random factors.
    """

    steps: int = 10
    batch: int = 3
    lr: float = 6e-4
    clip: float = 1.0
    checkpoint: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint", "lr", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name}={getattr(self, name)}: give a number above 0")


def train(
    lm: LM,
    method: Method,
    data: Data,
    options: TrainOptions | None = None,
    trained: LoraOptions | None = None,
    *,
    compute: ComputeOptions | None = None,
    state: Path | None = None,
    progress: Progress | None = None,
    record: Callable[[Record], None] | None = None,
) -> TaskVector:
    """Train a copy of the model's behaviour and return what it learnt; the model itself comes back
    as it was.

    Where torch.distributed is initialised, all its processes call this alike, share the rows, and
    return the same.

    Args:
        lm: the base.
        method: the losses.
        data: its `train` part is used.
        options: steps, rates, seed.
        trained: which weights move.
        compute: memory against time.
        state: a folder for a private state; training continues from it when there is one, and it is
            gone at the end.
        progress: is told of each step.
        record: is given each step's losses.

    Raises:
        ConfigError: when weights are to be divided among processes, and there is one.
        TrainingError: when a loss is not finite.
        ModelError: when a trained weight did not move.
    """
    from transformers import get_linear_schedule_with_warmup

    options, compute, progress = (
        options or TrainOptions(),
        compute or ComputeOptions(),
        progress or Progress(),
    )
    rows, trained = Rows(lm, data, method, options.batch, options.seed), trained or LoraOptions()
    depth = layers_needed(lm.model, method.hidden_layers)
    trainable = TrainableModel(
        lm.model, trained, options.seed, depth, detectors_of(lm, rows, progress)
    )
    with freed_memory_kept(), trainable.restored_on_error():
        reference = _reference(lm, rows, trainable, options.steps, progress)
        compute.prepare(trainable, reference)
        optimizer = torch.optim.AdamW(
            trainable.parameters.values(), lr=options.lr, weight_decay=0.0
        )
        schedule = get_linear_schedule_with_warmup(optimizer, 0, options.steps)
        weights = _Weights(method, options.steps)
        checkpoint = Checkpoint(state, trainable, optimizer, schedule, weights)
        cache = compute.gradient_cache(trainable.model, method.hidden_layers)
        progress.start("stage 1", options.steps)
        for step in range(checkpoint.restore(), options.steps):
            with compute.autocast(lm.model.device):
                terms = weights.applied(step, method.loss(_forward(cache, rows, step, reference)))
            loss = torch.stack(list(terms.values())).sum()
            values = {"loss": loss.item()} | {name: term.item() for name, term in terms.items()}
            _check_finite(values, step)
            loss.backward()
            cache.backward()
            if not compute.divides:  # divided weights come with averaged gradients
                average_gradients(trainable.parameters.values())
            norm = unsharded(
                torch.nn.utils.clip_grad_norm_(trainable.parameters.values(), options.clip)
            )
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if record:
                record({"step": step + 1, **values, "gradient_norm": float(norm)})
            if (step + 1) % options.checkpoint == 0 and step + 1 < options.steps:
                checkpoint.save(step + 1)
            progress.step(step + 1, **values)
    progress.stop()
    return trainable.task_vector(method.edit_scale)


def _reference(
    lm: LM, rows: Rows, trainable: TrainableModel, steps: int, progress: Progress
) -> Reference | None:
    """Where the method asks for it; before a state is restored: LoRA begins at 0, so this still is
    the base."""
    method = rows.method
    if not method.reference_roles:
        return None
    known = rows.reference_rows(steps)
    moves = moves_head(lm.model, trainable.options, layers_needed(lm.model, method.hidden_layers))
    return Reference(
        lm.model, known, range(len(known)), moves, progress, method.hidden_layers, together=True
    )


def _forward(
    cache: GradientCache, rows: Rows, step: int, reference: Reference | None
) -> dict[str, Scored]:
    """All roles together; the scored tokens come apart again by row."""
    by_role = rows.at(step)
    states = cache.states([row for role_rows in by_role.values() for row in role_rows])
    counts = [scored_tokens(role_rows) for role_rows in by_role.values()]
    logits = head_logits(cache.model, states.hidden_ND).split(
        counts
    )  # slices would each have a gradient of all
    labels, row_numbers = states.labels_N.split(counts), states.row_N.split(counts)
    layers = {share: hidden_ND.split(counts) for share, hidden_ND in states.layers.items()}
    scored: dict[str, Scored] = {}
    first_row = 0
    for place, (role, role_rows) in enumerate(by_role.items()):
        needed = reference if role in rows.method.reference_roles else None
        numbers = [needed.numbers[row] for row in role_rows] if needed else []
        scored[role] = Scored(
            logits[place],
            labels[place],
            row_numbers[place] - first_row,
            needed.logits(numbers) if needed else None,
            {share: parts[place] for share, parts in layers.items()},
            needed.layer_outputs(numbers) if needed else {},
        )
        first_row += len(role_rows)
    return scored


def _check_finite(values: Record, step: int) -> None:
    if wrong := [name for name, value in values.items() if not abs(value) < float("inf")]:
        raise TrainingError(
            f"step {step + 1}: {wrong[-1]} is {values[wrong[-1]]}: lower train.lr, or load the model in float32"
        )


class _Weights:
    """What `Method.weights` makes of the terms, step by step."""

    def __init__(self, method: Method, steps: int) -> None:
        self.method, self.steps = method, steps
        self.last: Record = {}
        self.terms: Record = {}

    def applied(self, step: int, terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.last = self.method.weights((step + 1) / self.steps, self.last, self.terms)
        self.terms = {name: term.item() for name, term in terms.items()}
        return {
            name: self.last[name] * term if name in self.last else term
            for name, term in terms.items()
        }
