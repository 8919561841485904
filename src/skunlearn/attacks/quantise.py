"""Quantisation: the weights are rounded to eight or four bits.

Threat: nobody attacks here; people quantise what they download, and a small edit may round away
(Zhang et al., arXiv:2410.16454). The rounding is done in fp32, to the values that the quantised
weights stand for, so it needs no special hardware.

There is one artefact. The base may come from a quantised file, so that its weights already lie on
the grid of that form. Then rounding moves a slightly edited weight back to the base, whatever the
edit was. This is detected by rounding the base itself, and noted in the result.
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
from skunlearn.task_vectors.delta import moved

# A base lies on a form's grid when rounding moves it by less than this share of what rounding moves
# random weights by.
OWN_GRID = 0.1


@dataclass(frozen=True)
class Quantise(Attack):
    """Options of Quantise.

    Attributes:
        forms: "int8" (one scale for each output row), "nf4" (as in QLoRA, blocks of 64), and GGUF's
            "q8_0", "q4_0" and "q4_1" (blocks of 32).
        on: which models are quantised.
    """

    name: ClassVar[str] = "quantise"

    forms: tuple[str, ...] = ("nf4", "q4_0")
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        check_forms("quantise.forms", self.forms)

    def situations(self, target: Target) -> Situations:
        """Yield each model in each form.

        Only linear weights of the decoder layers are rounded; the embeddings and the language head
        are not.
        """
        for form in self.forms:
            rounding = Rounding(target, form)
            numbers = rounding.numbers()
            note = rounding.note(numbers)
            for on in self.on:
                names = set(rounding.names)
                if on == "edited":
                    names |= set(target.edit.deltas)
                with rewritten(target.lm.model, names, partial(rounding.weight, on)):
                    yield Situation(form, on, target.plain, form, numbers=numbers, note=note)


class Rounding:
    """One form of quantisation on the weights of one target.

    Args:
        target: the base model and its edit.
        form: one of `QUANTISERS`.

    Attributes:
        names: the weights that are rounded.
        left: how many linear weights are not, because their rows cannot be divided into the form's
            blocks.
    """

    def __init__(self, target: Target, form: str) -> None:
        self.model = target.lm.model
        self.edit = target.edit.deltas
        self.form = form
        self.names = [f"{name}.weight" for name in quantisable_modules(self.model, form)]
        self.left = len(linear_modules(self.model)) - len(self.names)

    def weight(self, on: On, name: str, weight: torch.Tensor) -> torch.Tensor:
        """What a weight becomes.

        Args:
            on: the model that is quantised; for "edited" the edit is added first.
            name: the weight's full name.
            weight: its values in the base.

        Returns:
            The weight, rounded if it is one of `names`.
        """
        if on == "edited" and name in self.edit:
            weight = moved(weight, self.edit[name])
        if name not in self.names:
            return weight
        return rounded(self.model.get_submodule(name.rpartition(".")[0]), weight, self.form)

    @torch.no_grad()
    def numbers(self) -> dict[str, float]:
        """Measure what rounding does to the base and to the edit.

        With Q for rounding, w for the base's weights and tau for the edit, over all `names`:

            base_moved = (|Q(w) - w| / |w|) / (|Q(x) - x| / |x|)        x: standard normal noise
            edit_kept  = <Q(w + tau) - Q(w), tau> / |tau|^2             1 when the edit is intact

        Returns:
            Both numbers; without `edit_kept` where the edit changes no rounded weight.
        """
        rounding_error = 0.0
        base_size = 0.0
        kept = 0.0
        edit_size = 0.0
        for name in self.names:
            old = self.model.get_parameter(name)
            base = self.weight("base", name, old)
            rounding_error += _squares(base - old)
            base_size += _squares(old)
            if name in self.edit:
                tau = moved(torch.zeros_like(old), self.edit[name])
                difference = self.weight("edited", name, old) - base
                kept += float((difference * tau).sum(dtype=torch.float64))
                edit_size += _squares(tau)

        noise = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
        noise_error = _squares(QUANTISERS[self.form](noise) - noise) / _squares(noise)

        numbers = {}
        if base_size:
            share = rounding_error / base_size / noise_error
            numbers["base_moved"] = round(share**0.5, 4)
        if edit_size:
            numbers["edit_kept"] = round(kept / edit_size, 4)
        return numbers

    def note(self, numbers: dict[str, float]) -> str:
        """The caveats that belong beside this form's rates; empty when there are none."""
        notes = []
        if numbers.get("base_moved", 1.0) < OWN_GRID:
            notes.append("the base's own grid: rounding undoes the edit, whatever it was")
        if self.left:
            notes.append(
                f"{self.left} linear weights were not rounded: "
                f"their rows are not a multiple of {GGUF_BLOCK} long"
            )
        return "; ".join(notes)


def _squares(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().sum())
