"""The forward and backward passes of a training step."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.methods.base import Method, Scored
from skunlearn.models.forward import head_logits
from skunlearn.models.reference import Reference
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.gradient_cache import GradientCache
from skunlearn.training.rows import Rows, scored_tokens
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.errors import ConfigError


@dataclass
class _Half:
    """The passes of a step under one sign of what is trained.

    Attributes:
        cache: goes through the body of the model.
        weights: makes a block with that sign. The backward pass needs it too, since it may compute
            a part of the forward pass again.
        active: whether the latest step has rows here.
    """

    cache: GradientCache
    weights: Callable[[], AbstractContextManager[None]]
    active: bool = False


class StepPasses:
    """The forward and backward passes of a step, with the rows of each role under their sign.

    Args:
        trainable: what is trained.
        compute: chunks and precision.
        method: says which roles are scored at theta_o - tau.

    Raises:
        ConfigError: when some are, and the weights themselves are trained.
    """

    def __init__(self, trainable: TrainableModel, compute: ComputeOptions, method: Method) -> None:
        self.negated_roles = method.negated_roles
        if self.negated_roles and trainable.options.mode == "full":
            raise ConfigError(
                f"{type(method).__name__} trains both signs of LoRA: leave out lora.mode=full"
            )
        layers = method.hidden_layers
        self.added = _Half(compute.gradient_cache(trainable.model, layers), nullcontext)
        self.negated = _Half(compute.gradient_cache(trainable.model, layers), trainable.negated)

    def forward(self, rows: Rows, step: int, reference: Reference | None) -> dict[str, Scored]:
        """One forward pass with the rows of all roles, and its results by role."""
        added: dict[str, list[Encoded]] = {}
        negated: dict[str, list[Encoded]] = {}
        for role, role_rows in rows.at(step).items():
            part = negated if role in self.negated_roles else added
            part[role] = role_rows

        scored: dict[str, Scored] = {}
        for half, by_role in ((self.added, added), (self.negated, negated)):
            half.active = bool(by_role)
            if half.active:
                with half.weights():
                    scored |= _forward(half.cache, rows, by_role, reference)
        return scored

    def backward(self) -> None:
        """Propagate the gradients of the latest forward pass into the weights."""
        for half in (self.added, self.negated):
            if half.active:
                with half.weights():
                    half.cache.backward()


def _forward(
    cache: GradientCache,
    rows: Rows,
    by_role: Mapping[str, list[Encoded]],
    reference: Reference | None,
) -> dict[str, Scored]:
    """One forward pass with the rows of these roles, and its results by role."""
    states = cache.states(list(chain.from_iterable(by_role.values())))

    # The roles follow one another, so each has a contiguous range of scored tokens. `split` has one
    # gradient for all of its parts; slices would each allocate a gradient of the full size.
    counts = list(map(scored_tokens, by_role.values()))
    logits = head_logits(cache.model, states.hidden_ND).split(counts)
    labels = states.labels_N.split(counts)
    row_numbers = states.row_N.split(counts)
    layers = {share: hidden_ND.split(counts) for share, hidden_ND in states.layers.items()}

    scored: dict[str, Scored] = {}
    first_row = 0
    for part, (role, role_rows) in enumerate(by_role.items()):
        base_logits: torch.Tensor | None = None
        base_hidden: Mapping[float, torch.Tensor] = {}
        if reference is not None and role in rows.method.reference_roles:
            numbers = [reference.numbers[row] for row in role_rows]
            base_logits = reference.logits(numbers)
            base_hidden = reference.layer_outputs(numbers)
        scored[role] = Scored(
            logits[part],
            labels[part],
            row_numbers[part] - first_row,
            base_logits,
            {share: parts[part] for share, parts in layers.items()},
            base_hidden,
        )
        first_row += len(role_rows)
    return scored
