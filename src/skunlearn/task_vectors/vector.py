"""`TaskVector`: what training added to a model, as something that can be scaled, added and applied.

    tau = theta_trained - theta_o            theta_u = theta_o + (k * tau)

Task arithmetic is from Ilharco et al. (arXiv:2212.04089). A vector holds one change per weight. A
LoRA run leaves factors, a run over full weights leaves dense fp32 differences (`delta.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import torch

from skunlearn.task_vectors.delta import (
    Delta,
    LowRank,
    added,
    block_rows,
    frobenius_norm,
    is_finite,
    moved,
    scaled,
)
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.task_vectors.vector_file import (
    LEFT,
    NOT_FINITE,
    RIGHT,
    check_header,
    read_vector,
    write_vector,
)
from skunlearn.utils.errors import ModelError
from skunlearn.utils.notebook import table

# What a vector is made of can be imported from here too.
__all__ = [
    "LEFT",
    "RIGHT",
    "Delta",
    "LowRank",
    "TaskVector",
    "block_rows",
    "check_header",
    "moved",
    "weighted_sum",
]


class TaskVector:
    """The changes of a model's weights by parameter name.

    Operators: `k * tau`, `tau / k`, `-tau`, `a + b`, `a - b`, `sum(taus)`. A weight that only one
    side of a sum changes keeps that change.

    Attributes:
        deltas: parameter name -> fp32 change, dense or `LowRank`, on the CPU.
        safety: which way the vector moves the model when it is added. Above 0 it moves towards what
            the method is for, below 0 towards the harmful model. A multiple of the vector has the
            multiple of its safety; a sum has the smaller one of its parts. `apply_to` refuses a
            vector whose safety is below 0.
    """

    def __init__(self, deltas: Mapping[str, Delta], safety: float) -> None:
        self.deltas = dict(deltas)
        self.safety = safety

    @classmethod
    def between(
        cls,
        base: Mapping[str, torch.Tensor],
        trained: Mapping[str, torch.Tensor],
        safety: float = -1.0,
    ) -> TaskVector:
        """The dense vector `trained - base`, computed in fp32.

        Parameters that did not change are left out.

        Args:
            base: parameters of the base model by name.
            trained: parameters of the trained model, with the same names and shapes.
            safety: of the new vector.

        Raises:
            ModelError: when names or shapes differ, or when nothing changed.
        """
        unpaired = sorted(set(base) ^ set(trained))
        if unpaired:
            raise ModelError(
                f"the two checkpoints differ in {len(unpaired)} parameter names, "
                f"first '{unpaired[0]}'"
            )
        deltas: dict[str, Delta] = {}
        for name, old in base.items():
            new = trained[name]
            if old.shape != new.shape:
                raise ModelError(
                    f"'{name}': shape {tuple(old.shape)} in base, {tuple(new.shape)} in trained"
                )
            difference = new.detach().float().cpu() - old.detach().float().cpu()
            if difference.any():
                deltas[name] = difference
        if not deltas:
            raise ModelError("the two checkpoints are equal: there is no task vector between them")
        return cls(deltas, safety)

    def __rmul__(self, factor: float) -> TaskVector:
        if not isinstance(factor, SupportsFloat):
            return NotImplemented
        if not math.isfinite(factor):
            raise ModelError(f"{factor} * task vector: give a finite number")
        deltas = {name: scaled(delta, factor) for name, delta in self.deltas.items()}
        return TaskVector(deltas, self.safety * factor)

    def __mul__(self, factor: float) -> TaskVector:
        return self.__rmul__(factor)

    def __truediv__(self, divisor: float) -> TaskVector:
        if not isinstance(divisor, SupportsFloat):
            return NotImplemented
        if not divisor:
            raise ModelError("task vector / 0: give a number other than 0")
        return self.__rmul__(1 / divisor)

    def __neg__(self) -> TaskVector:
        return -1.0 * self

    def __radd__(self, other: int) -> TaskVector:
        # `sum` starts with 0.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __add__(self, other: TaskVector) -> TaskVector:
        if not isinstance(other, TaskVector):
            return NotImplemented
        deltas = dict(self.deltas)
        for name, delta in other.deltas.items():
            if name not in deltas:
                deltas[name] = delta
                continue
            if deltas[name].shape != delta.shape:
                raise ModelError(
                    f"'{name}': shapes {tuple(deltas[name].shape)} and {tuple(delta.shape)} "
                    "cannot be added"
                )
            deltas[name] = added(deltas[name], delta)
        return TaskVector(deltas, min(self.safety, other.safety))

    def __sub__(self, other: TaskVector) -> TaskVector:
        if not isinstance(other, TaskVector):
            return NotImplemented
        return self + -other

    def __repr__(self) -> str:
        ranks = [delta.rank for delta in self.deltas.values() if isinstance(delta, LowRank)]
        rank = max(ranks, default=0)
        form = f"LoRA rank {rank}" if rank else "dense"
        return (
            f"TaskVector({len(self.deltas)} weights, {form}, norm {self.norm():.4g}, "
            f"safety {self.safety:+g})"
        )

    def _repr_html_(self) -> str:
        """A notebook's table: how many weights of each layer change, and by how much."""
        outside = -1  # weights that belong to no layer come first
        by_layer: dict[int, list[float]] = {}
        for name, norm in self.norms().items():
            layer = layer_of(name)
            by_layer.setdefault(outside if layer is None else layer, []).append(norm)
        rows = []
        for layer, norms in sorted(by_layer.items()):
            label = "outside" if layer == outside else str(layer)
            rows.append((label, str(len(norms)), f"{_euclidean(norms):.4g}"))
        return table(repr(self), ("layer", "weights", "norm"), rows)

    def norms(self) -> dict[str, float]:
        """Frobenius norm of each weight's change, by parameter name."""
        return {name: frobenius_norm(delta) for name, delta in self.deltas.items()}

    def norm(self) -> float:
        """Euclidean norm over all weights together, 0 or more."""
        return _euclidean(self.norms().values())

    def check_moved(self) -> None:
        """Check that training changed every weight of the vector, to finite values.

        Adding a vector of zeros would silently do nothing.

        Raises:
            ModelError: with the number of weights that did not move or are not finite, and the
                first name.
        """
        still, broken = [], []
        for name, norm in self.norms().items():
            if norm == 0.0:
                still.append(name)
            elif not norm < float("inf"):  # infinite or NaN
                broken.append(name)
        for bad, problem in (
            (still, "did not move in training"),
            (broken, "are not finite after training"),
        ):
            if bad:
                raise ModelError(
                    f"{len(bad)} of {len(self.deltas)} trained weights {problem}, "
                    f"first '{bad[0]}': check that they are not quantised or frozen, and lower "
                    "train.lr if the loss diverged"
                )

    def check_safe(self) -> None:
        """Refuse a vector that points at the harmful model.

        Raises:
            ModelError: when `safety` is below 0, or no finite number.
        """
        if not math.isfinite(self.safety):
            raise ModelError(f"the task vector's safety is {self.safety}: give a finite number")
        if self.safety < 0:
            raise ModelError(
                f"this would move the model towards the harmful one (safety {self.safety:+g}): "
                "negate the vector, as in lm.apply(-1.0 * tau); a negative strength is refused"
            )

    def matched(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter, Delta]]:
        """Pair each change with the parameter of `model` that it belongs to.

        Yields:
            (parameter name, parameter, change).

        Raises:
            ModelError: when a name is missing, a shape differs, a weight is quantised, or a change
                is infinite or NaN.
        """
        parameters = dict(model.named_parameters())
        for name, delta in self.deltas.items():
            if name not in parameters:
                raise ModelError(
                    f"the model has no parameter '{name}': this task vector belongs to another "
                    "model"
                )
            parameter = parameters[name]
            if not parameter.is_floating_point():
                raise ModelError(
                    f"'{name}' is quantised ({parameter.dtype}): load the model in a float type"
                )
            if parameter.shape != delta.shape:
                raise ModelError(
                    f"'{name}': shape {tuple(parameter.shape)} in the model, "
                    f"{tuple(delta.shape)} in the vector"
                )
            if not is_finite(delta):
                raise ModelError(NOT_FINITE.format(where="this task vector", name=name))
            yield name, parameter, delta

    @torch.no_grad()
    def apply_to(self, model: torch.nn.Module) -> None:
        """Add the vector to the model's weights in place.

        The sum is taken in fp32 and cast back to the weight's type.

        Raises:
            ModelError: when the vector points at the harmful model or does not fit; no weight has
                changed then.
        """
        self.check_safe()
        # The whole list first: if one weight does not fit, none is touched.
        pairs = list(self.matched(model))
        for _, parameter, delta in pairs:
            parameter.copy_(moved(parameter, delta))

    def save(self, path: str | Path, **lineage: Any) -> None:
        """Write the vector to one safetensors file with mode 0600.

        The file is written beside its place and renamed, so that it is whole or not there at all.

        Args:
            path: the file.
            lineage: facts for the header that JSON can hold (base model, method, seed).

        Raises:
            ModelError: when the path is a folder, or in one that does not exist.
        """
        path = Path(path)
        if path.is_dir() or not path.parent.is_dir():
            problem = "this is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise ModelError(
                f"{path}: {problem}: give the name of a file, such as tau.safetensors, in a folder "
                "that exists"
            )
        write_vector(path, self.deltas, self.safety, lineage)

    @classmethod
    def load(cls, path: str | Path) -> TaskVector:
        """Read a file that `save` wrote.

        Raises:
            ModelError: when the file is missing, broken or not a task vector, or holds a number
                that is infinite or NaN.
        """
        deltas, safety = read_vector(Path(path))
        return cls(deltas, safety)


def weighted_sum(parts: Iterable[tuple[float, TaskVector]]) -> TaskVector:
    """The sum of `weight * vector` over all parts, added from the first to the last.

    Args:
        parts: (weight, vector), at least one. They are taken one after the other: a generator may
            load each vector from its file when its turn comes.

    Raises:
        ValueError: when there are no parts.
        ModelError: when two parts have different shapes for one weight.
    """
    total: TaskVector | None = None
    for weight, vector in parts:
        part = weight * vector
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a weighted sum needs at least one task vector")
    return total


def _euclidean(norms: Iterable[float]) -> float:
    """The norm of a whole whose parts have these norms."""
    return sum(norm * norm for norm in norms) ** 0.5
