"""TaskVector: what training added to a model, as something one can scale, add, save and apply.

    tau = theta_trained - theta_o            theta_u = theta_o + (k * tau)

Arithmetic is Ilharco et al. (arXiv:2212.04089). A LoRA run keeps its factors, so `norm`, sums and
scaling cost next to nothing and are exact; a full run keeps dense fp32 differences.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.errors import ModelError
from skunlearn.utils.notebook import table

FORMAT = "skunlearn-task-vector-1"
HEADER = "skunlearn"
BLOCK = 1 << 22  # values in a block of rows


@dataclass(frozen=True)
class LowRank:
    """`left_OR @ right_RI`, in the orientation of the weight it belongs to (fp32)."""

    left_OR: torch.Tensor
    right_RI: torch.Tensor

    @property
    def shape(self) -> torch.Size:
        return torch.Size((self.left_OR.shape[0], self.right_RI.shape[1]))

    def dense(self) -> torch.Tensor:
        """In blocks of rows: a product's last bits may depend on how many rows are made at once,
        and a block read from a file must have the same ones."""
        blocks = [
            left @ self.right_RI for left in self.left_OR.split(block_rows(self.right_RI.shape[1]))
        ]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def scaled(self, factor: float) -> LowRank:
        return LowRank(self.left_OR * factor, self.right_RI)

    def plus(self, other: LowRank) -> LowRank:
        """Exact: the factors side by side."""
        return LowRank(
            torch.cat((self.left_OR, other.left_OR), dim=1),
            torch.cat((self.right_RI, other.right_RI), dim=0),
        )

    def norm(self) -> float:
        """Frobenius norm from the R x R Gram matrices, without the dense product."""
        left_RR = (self.left_OR.T @ self.left_OR).double()
        right_RR = (self.right_RI @ self.right_RI.T).double()
        return float((left_RR * right_RR).sum().clamp(min=0).sqrt())


Delta = torch.Tensor | LowRank


class TaskVector:
    """Differences by parameter name, with operators: `k * tau`, `-tau`, `a + b`, `a - b`.

    Attributes:
        deltas: parameter name -> fp32 difference, dense or `LowRank`, on the CPU.
        safety: which way an application moves the model: above 0 towards what the method is for,
            below 0 towards the bad model. Scaling scales it; a sum is as safe as its worse part.
            `apply_to` refuses it below 0.
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
        """`trained - base`, in fp32, over the parameters of two checkpoints, which must have the
        same names and shapes. Parameters that did not move are left out.

        Raises:
            ModelError: when names or shapes differ, or nothing moved.
        """
        if odd := sorted(set(base) ^ set(trained)):
            raise ModelError(
                f"the two checkpoints differ in {len(odd)} parameter names, first '{odd[0]}'"
            )
        deltas: dict[str, Delta] = {}
        for name, old in base.items():
            if old.shape != trained[name].shape:
                raise ModelError(
                    f"'{name}': shape {tuple(old.shape)} in base, {tuple(trained[name].shape)} in trained"
                )
            difference = trained[name].detach().float().cpu() - old.detach().float().cpu()
            if difference.any():
                deltas[name] = difference
        if not deltas:
            raise ModelError("the two checkpoints are equal: there is no task vector between them")
        return cls(deltas, safety)

    def __rmul__(self, factor: float) -> TaskVector:
        return TaskVector(
            {
                name: d.scaled(factor) if isinstance(d, LowRank) else d * factor
                for name, d in self.deltas.items()
            },
            self.safety * factor,
        )

    def __neg__(self) -> TaskVector:
        return -1.0 * self

    def __add__(self, other: TaskVector) -> TaskVector:
        deltas = dict(self.deltas)
        for name, delta in other.deltas.items():
            deltas[name] = _sum(name, deltas[name], delta) if name in deltas else delta
        return TaskVector(deltas, min(self.safety, other.safety))

    def __sub__(self, other: TaskVector) -> TaskVector:
        return self + -other

    def __repr__(self) -> str:
        rank = max(
            (d.left_OR.shape[1] for d in self.deltas.values() if isinstance(d, LowRank)), default=0
        )
        form = f"LoRA rank {rank}" if rank else "dense"
        return f"TaskVector({len(self.deltas)} weights, {form}, norm {self.norm():.4g}, safety {self.safety:+g})"

    def _repr_html_(self) -> str:
        layers: dict[int | None, list[float]] = {}
        for name, norm in self.norms().items():
            layers.setdefault(layer_of(name), []).append(norm)
        rows = [
            (
                "outside" if layer is None else str(layer),
                str(len(norms)),
                f"{sum(n * n for n in norms) ** 0.5:.4g}",
            )
            for layer, norms in sorted(
                layers.items(), key=lambda item: -1 if item[0] is None else item[0]
            )
        ]
        return table(repr(self), ("layer", "weights", "norm"), rows)

    def norms(self) -> dict[str, float]:
        """Frobenius norm by parameter name."""
        return {
            name: delta.norm() if isinstance(delta, LowRank) else float(delta.double().norm())
            for name, delta in self.deltas.items()
        }

    def norm(self) -> float:
        """Euclidean norm over all weights, 0 or more."""
        return sum(value * value for value in self.norms().values()) ** 0.5

    def check_moved(self) -> None:
        """Every trained weight must have moved and be finite.

        Raises:
            ModelError: with the names. Subtracting a vector of zeros would silently do nothing.
        """
        for problem, bad in (
            ("did not move in training", [n for n, v in self.norms().items() if v == 0.0]),
            (
                "are not finite after training",
                [n for n, v in self.norms().items() if not v < float("inf")],
            ),
        ):
            if bad:
                raise ModelError(
                    f"{len(bad)} of {len(self.deltas)} trained weights {problem}, first '{bad[0]}': "
                    "check that they are not quantised or frozen, and lower train.lr if the loss diverged"
                )

    def check_safe(self) -> None:
        """Refuse a vector that points at the bad model.

        Raises:
            ModelError: when `safety` is negative.
        """
        if self.safety < 0:
            raise ModelError(
                f"this would move the model towards the harmful one (safety {self.safety:+g}): "
                "negate the vector, as in lm.apply(-1.0 * tau); a negative strength is refused"
            )

    def matched(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter, Delta]]:
        """Each delta with the parameter of `model` it belongs to.

        Raises:
            ModelError: when a name is missing, a shape differs, or a weight is quantised.
        """
        parameters = dict(model.named_parameters())
        for name, delta in self.deltas.items():
            if name not in parameters:
                raise ModelError(
                    f"the model has no parameter '{name}': this task vector belongs to another model"
                )
            parameter = parameters[name]
            if not parameter.is_floating_point():
                raise ModelError(
                    f"'{name}' is quantised ({parameter.dtype}): load the model in a float type"
                )
            if parameter.shape != delta.shape:
                raise ModelError(
                    f"'{name}': shape {tuple(parameter.shape)} in the model, {tuple(delta.shape)} in the vector"
                )
            yield name, parameter, delta

    @torch.no_grad()
    def apply_to(self, model: torch.nn.Module) -> None:
        """Add the vector to the model's weights in place; the sum is taken in fp32 and cast back.

        Raises:
            ModelError: when it does not fit (nothing has changed then), or points at the bad model.
        """
        self.check_safe()
        for _, parameter, delta in list(self.matched(model)):
            parameter.copy_(moved(parameter, delta))

    def save(self, path: Path, **lineage: Any) -> None:
        """Write one safetensors file, mode 0600, whole or not at all.

        Args:
            path: the file.
            lineage: JSON-able facts kept in the header (base model, method, seed).
        """
        tensors: dict[str, torch.Tensor] = {}
        for name, delta in self.deltas.items():
            if isinstance(delta, LowRank):
                tensors[f"{name}::left"] = delta.left_OR.contiguous()
                tensors[f"{name}::right"] = delta.right_RI.contiguous()
            else:
                tensors[name] = delta.contiguous()
        facts = {"format": FORMAT, "safety": self.safety, "lineage": lineage}
        header = {
            HEADER: json.dumps(facts, sort_keys=True)
        }  # one key: safetensors keeps no order of several
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        save_file(tensors, partial, metadata=header)
        partial.chmod(0o600)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> TaskVector:
        """Read what `save` wrote.

        Raises:
            ModelError: when the file is missing, broken or not a task vector.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                safety = check_header(file.metadata() or {}, path)
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: not a readable task vector: {error}") from error
        deltas: dict[str, Delta] = {}
        for name, tensor in tensors.items():
            weight, _, side = name.partition("::")
            if side == "left":
                deltas[weight] = LowRank(tensor, tensors[f"{weight}::right"])
            elif not side:
                deltas[weight] = tensor
        return cls(deltas, safety)


def check_header(metadata: Mapping[str, str], path: Path) -> float:
    """The safety that a task vector's file states.

    Raises:
        ModelError: when the file is no task vector of this version.
    """
    header = json.loads(metadata.get(HEADER, "{}"))
    if header.get("format") != FORMAT:
        raise ModelError(
            f"{path}: not a task vector of this version (format {header.get('format')!r})"
        )
    return float(header["safety"])


def block_rows(columns: int) -> int:
    """Rows in a block of a matrix with so many columns: a multiple of 64, so that blocks of factors
    lie aligned."""
    return max(64, BLOCK // max(columns, 1) // 64 * 64)


def moved(parameter: torch.Tensor, delta: Delta) -> torch.Tensor:
    """`parameter + delta`, summed in fp32, in the parameter's own type and place."""
    dense = delta.dense() if isinstance(delta, LowRank) else delta
    return (parameter.detach().float() + dense.to(parameter.device)).to(parameter.dtype)


def _sum(name: str, a: Delta, b: Delta) -> Delta:
    if a.shape != b.shape:
        raise ModelError(f"'{name}': shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be added")
    if isinstance(a, LowRank) and isinstance(b, LowRank):
        return a.plus(b)
    return (a.dense() if isinstance(a, LowRank) else a) + (
        b.dense() if isinstance(b, LowRank) else b
    )
