"""Quantisation: the weights go through eight or four bits and back.

Threat: nobody attacks; people quantise what they download, and a small edit may round away (Zhang
    et al.,
arXiv:2410.16454). The round trips are true ones, in fp32 on any machine. Weights that already lie
on a form's grid (a checkpoint made from such a file) round back to where they were, and the edit
with them: that is an artefact of the base, found by rounding the base itself, and the row says so.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from skunlearn.attacks.base import BOTH, Attack, On, Situation, Situations, Target
from skunlearn.models.architecture import linear_modules
from skunlearn.models.quantisation import (
    GGUF_BLOCK,
    QUANTISERS,
    check_forms,
    quantisable_modules,
    rounded,
)
from skunlearn.task_vectors.apply import rewritten
from skunlearn.task_vectors.vector import moved

OWN_GRID = (
    0.1  # a base that moves by less than this share of what random weights move by lies on the grid
)


@dataclass(frozen=True)
class Quantise(Attack):
    """Options of Quantise.

    Attributes:
        forms: int8 (a scale for each output row), nf4 (QLoRA's, blocks of 64), and GGUF's q8_0,
            q4_0, q4_1 (of 32).
        on: which models are quantised.
    """

    name: ClassVar[str] = "quantise"

    forms: tuple[str, ...] = ("nf4", "q4_0")
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        check_forms("quantise.forms", self.forms)

    def situations(self, target: Target) -> Situations:
        """Each form on each model. Linear weights in the layers are rounded; embeddings and head
        are not."""
        for form in self.forms:
            rounding = Rounding(target, form)
            numbers = rounding.numbers()
            for on in self.on:
                names = {*rounding.names, *(target.edit.deltas if on == "edited" else ())}
                with rewritten(target.lm.model, names, partial(rounding.weight, on)):
                    yield Situation(
                        form, on, target.plain, form, numbers=numbers, note=rounding.note(numbers)
                    )


class Rounding:
    """One form on the weights of one target.

    Args:
        target: what is rounded.
        form: one of `FORMS`.

    Attributes:
        names: the weights that are rounded.
        left: how many linear weights are not, since their rows do not fit into the form's blocks.
    """

    def __init__(self, target: Target, form: str) -> None:
        self.model, self.edit, self.form = target.lm.model, target.edit.deltas, form
        self.names = [f"{name}.weight" for name in quantisable_modules(self.model, form)]
        self.left = len(linear_modules(self.model)) - len(self.names)

    def weight(self, on: On, name: str, weight: torch.Tensor) -> torch.Tensor:
        """A weight of the base or edited model, rounded where it is one of `names`."""
        if on == "edited" and name in self.edit:
            weight = moved(weight, self.edit[name])
        if name not in self.names:
            return weight
        return rounded(self.model.get_submodule(name.rpartition(".")[0]), weight, self.form)

    @torch.no_grad()
    def numbers(self) -> dict[str, float]:
        """`base_moved`: relative change of the base, 0 or more, as a share of what random weights
        change by;
        `edit_kept`: what is left of the edit, as its projection on itself, 1 when all of it is."""
        change = size = kept = edit = 0.0
        for name in self.names:
            old = self.model.get_parameter(name)
            base = self.weight("base", name, old)
            change, size = change + _squares(base - old), size + _squares(old)
            if name in self.edit:
                tau = moved(torch.zeros_like(old), self.edit[name])
                kept += float(
                    ((self.weight("edited", name, old) - base) * tau).sum(dtype=torch.float64)
                )
                edit += _squares(tau)
        noise = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
        usual = _squares(QUANTISERS[self.form](noise) - noise) / _squares(noise)
        numbers = {"base_moved": round((change / size / usual) ** 0.5, 4)} if size else {}
        return numbers | ({"edit_kept": round(kept / edit, 4)} if edit else {})

    def note(self, numbers: dict[str, float]) -> str:
        """What makes the number of this form less than it looks."""
        notes = []
        if numbers.get("base_moved", 1.0) < OWN_GRID:
            notes.append("the base's own grid: rounding puts the edit back, whatever it was")
        if self.left:
            notes.append(
                f"{self.left} linear weights were not rounded: rows of no multiple of {GGUF_BLOCK}"
            )
        return "; ".join(notes)


def _squares(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().sum())
