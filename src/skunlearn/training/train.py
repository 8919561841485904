"""The training loop: any method, with LoRA or full weights, to a task vector."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.models.architecture import layers_needed
from skunlearn.models.lm import LM
from skunlearn.models.reference import Reference
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.allocator import freed_memory_kept
from skunlearn.training.checkpoint import Checkpoint
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.detectors import detectors_of
from skunlearn.training.fsdp import unsharded
from skunlearn.training.lora import LoraOptions, moves_head
from skunlearn.training.rows import Rows
from skunlearn.training.step_passes import StepPasses
from skunlearn.training.term_weights import TermWeights
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.distributed import average_gradients
from skunlearn.utils.errors import ConfigError, TrainingError
from skunlearn.utils.options import checked_as
from skunlearn.utils.progress import Progress

Record = dict[str, float]


@dataclass(frozen=True)
@checked_as("train")
class TrainOptions:
    """The hyperparameters of a training.

    Attributes:
        steps: optimizer steps (1 or more).
        batch: rows of each set in a step (1 or more).
        lr: peak learning rate of AdamW. There is no warmup, and it decays linearly to 0.
        clip: largest norm of the gradient (above 0).
        checkpoint: steps between two checkpoints (1 or more).
        seed: of the order of rows and of LoRA's random factors.
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


@dataclass(frozen=True)
class TrainRuntime:
    """How a training is executed, apart from its hyperparameters.

    Attributes:
        compute: memory, precision and sharding.
        checkpoint_folder: where a private checkpoint is written, and from which an interrupted
            training resumes; None for no checkpoint.
        record: a callback that receives the losses of each step, with `step` and `gradient_norm`.
    """

    compute: ComputeOptions = field(default_factory=ComputeOptions)
    checkpoint_folder: Path | None = None
    record: Callable[[Record], None] | None = None

    def report(self, losses: Record) -> None:
        """Pass a step's losses to the callback, if there is one."""
        if self.record:
            self.record(losses)


def train(
    lm: LM,
    method: Method,
    data: Data,
    options: TrainOptions | None = None,
    lora: LoraOptions | None = None,
    *,
    runtime: TrainRuntime | None = None,
    progress: Progress | None = None,
    **older: Any,
) -> TaskVector:
    """Train a model with a method and return the task vector; the model itself is restored.

    Where torch.distributed is initialised, all processes call this with the same arguments. They
    share the rows of each step and return the same vector.

    Args:
        lm: the base model.
        method: chooses the rows and computes the losses.
        data: its training split is used.
        options: steps, learning rate and seed.
        lora: which weights are trained.
        runtime: compute options, checkpoint folder and callback for the losses.
        progress: reports each step.
        older: `compute`, `state`, `record` and `trained`, the keywords of 0.1 for what `runtime`
            and `lora` hold; they go with the next release.

    Raises:
        TypeError: for an unknown keyword.
        ConfigError: when a method's name or class is given in its place, or weights are to be
            sharded among processes and there is only one.
        TrainingError: when a loss is not finite.
        ModelError: when a trained weight did not change.
    """
    options = options or TrainOptions()
    lora = older.pop("trained", lora) or LoraOptions()
    runtime = _with_older_keywords(runtime or TrainRuntime(), older)
    progress = progress or Progress()

    # Rows: the data as tokens, and which of them each step takes.
    rows = Rows(lm, data, method, options.batch, options.seed)

    # Trainable parameters: LoRA factors, full weights, or what detectors write, in the layers that
    # the losses depend on.
    depth = layers_needed(lm.model, method.hidden_layers)
    detectors = detectors_of(lm, rows, progress)
    trainable = TrainableModel(lm.model, lora, options.seed, depth, detectors)
    with freed_memory_kept(), trainable.restored_on_error():
        # Reference predictions: of the base model, which the model still is.
        reference = _reference(lm, rows, trainable, options.steps, progress)

        # Optimizer and schedule, for the parameters as they are after sharding.
        runtime.compute.prepare(trainable, reference)
        parameters = list(trainable.parameters.values())
        optimizer, schedule = _optimizer_and_schedule(parameters, options)

        # Resume from a checkpoint, if there is one.
        weights = TermWeights(method, options.steps)
        checkpoint = Checkpoint(runtime.checkpoint_folder, trainable, optimizer, schedule, weights)
        first_step = checkpoint.restore(progress)

        passes = StepPasses(trainable, runtime.compute, method)
        progress.start("stage 1", options.steps)
        for step in range(first_step, options.steps):
            with runtime.compute.autocast(lm.model.device):
                # Forward pass of all roles together, and the weighted terms of the loss. The logits
                # are large and get no name here, so that they are freed as soon as possible.
                terms = weights.apply(step, method.loss(passes.forward(rows, step, reference)))
            loss = torch.stack(list(terms.values())).sum()

            # Stop at a loss that is not finite, before it reaches the weights.
            values = _finite_values(loss, terms, step)

            # Backward pass: through loss and head to the hidden states, then through the body.
            loss.backward()
            passes.backward()

            # Average over processes. Sharded gradients are averaged already.
            if not runtime.compute.divides:
                average_gradients(parameters)

            # Clip, and take the optimizer's step.
            norm = unsharded(torch.nn.utils.clip_grad_norm_(parameters, options.clip))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)

            # Record the losses and write a checkpoint.
            done = step + 1
            runtime.report({"step": done, **values, "gradient_norm": float(norm)})
            if done % options.checkpoint == 0 and done < options.steps:
                checkpoint.save(done)
            progress.step(done, **values)
    progress.stop()
    return trainable.task_vector(method.edit_scale)


def _with_older_keywords(runtime: TrainRuntime, older: dict[str, Any]) -> TrainRuntime:
    """The runtime with what the keywords of 0.1 set.

    Raises:
        TypeError: for a keyword that 0.1 did not have either.
    """
    names = {"compute": "compute", "state": "checkpoint_folder", "record": "record"}
    given: dict[str, Any] = {}
    for keyword, value in older.items():
        if keyword not in names:
            raise TypeError(f"train() has no keyword '{keyword}'")
        if value is not None:
            given[names[keyword]] = value
    return replace(runtime, **given)


def _reference(
    lm: LM, rows: Rows, trainable: TrainableModel, steps: int, progress: Progress
) -> Reference | None:
    """The base model's predictions, where the method needs them.

    This must run before a checkpoint is restored. Until then the model predicts like the base
    model, with LoRA too, whose second factor begins at 0.
    """
    method = rows.method
    if not method.reference_roles:
        return None
    needed = rows.reference_rows(steps)
    depth = layers_needed(lm.model, method.hidden_layers)
    head_is_trained = moves_head(lm.model, trainable.options, depth)
    return Reference(
        lm.model,
        needed,
        range(len(needed)),
        head_is_trained,
        progress,
        method.hidden_layers,
        together=True,
    )


def _optimizer_and_schedule(
    parameters: list[torch.nn.Parameter], options: TrainOptions
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW without weight decay, and a learning rate that falls linearly to 0."""
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.0)
    return optimizer, get_linear_schedule_with_warmup(optimizer, 0, options.steps)


def _finite_values(loss: torch.Tensor, terms: dict[str, torch.Tensor], step: int) -> Record:
    """The loss and its terms as numbers.

    Raises:
        TrainingError: for the last of them that is not finite; a term comes after the loss.
    """
    values = {"loss": loss.item()}
    for name, term in terms.items():
        values[name] = term.item()
    for name in reversed(values):
        if not math.isfinite(values[name]):
            raise TrainingError(
                f"step {step + 1}: {name} is {values[name]}: lower train.lr, "
                "or load the model in float32"
            )
    return values
