"""Quantisation: the weights go through eight or four bits and back.

Threat: nobody attacks; people quantise what they download, and a small edit may round away (Zhang et al.,
arXiv:2410.16454). The round trips are true ones, in fp32 on any machine. Weights that already lie on a form's grid (a
checkpoint made from such a file) round back to where they were, and the edit with them: that is an artefact of the
base, found by rounding the base itself, and the row says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.attacks.base import BOTH, Attack, On, Situation, Situations, Target
from skunlearn.errors import ConfigError
from skunlearn.lm.edit import rewritten
from skunlearn.lm.lora import Trained, linear_modules
from skunlearn.registry import did_you_mean
from skunlearn.task_vector import moved

NF4_BLOCK, GGUF_BLOCK = 64, 32
OWN_GRID = 0.1  # a base that moves by less than this share of what random weights move by lies on the grid


@dataclass(frozen=True)
class Quantise(Attack):
    """Options of Quantise.

    Attributes:
        forms: int8 (a scale for each output row), nf4 (QLoRA's, blocks of 64), and GGUF's q8_0, q4_0, q4_1 (of 32).
        on: which models are quantised.
    """

    name: ClassVar[str] = "quantise"

    forms: tuple[str, ...] = ("nf4", "q4_0")
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        for form in self.forms:
            if form not in FORMS:
                raise ConfigError(f"quantise.forms: unknown form '{form}': {did_you_mean(form, FORMS)}")

    def situations(self, target: Target) -> Situations:
        """Each form on each model. Linear weights in the layers are rounded; embeddings and head are not."""
        for form in self.forms:
            rounding = Rounding(target, form)
            numbers = rounding.numbers()
            for on in self.on:
                names = {*rounding.names, *(target.edit.deltas if on == "edited" else ())}
                with rewritten(target.lm.model, names, partial(rounding.weight, on)):
                    yield Situation(form, on, target.plain, form, numbers=numbers, note=rounding.note(numbers))


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
        names = [f"{name}.weight" for name in linear_modules(self.model, Trained(frozen=0))]
        whole = form in ("int8", "nf4")
        self.names = [name for name in names if whole or self._width(name) % GGUF_BLOCK == 0]
        self.left = len(names) - len(self.names)

    def weight(self, on: On, name: str, weight: torch.Tensor) -> torch.Tensor:
        """A weight of the base or edited model, rounded where it is one of `names`."""
        if on == "edited" and name in self.edit:
            weight = moved(weight, self.edit[name])
        if name not in self.names:
            return weight
        turned = isinstance(self._module(name), Conv1D)  # GPT-2's keep (in, out)
        rounded_OI = FORMS[self.form]((weight.T if turned else weight).float())
        return rounded_OI.T if turned else rounded_OI

    @torch.no_grad()
    def numbers(self) -> dict[str, float]:
        """`base_moved`: relative change of the base, 0 or more, as a share of what random weights change by;
        `edit_kept`: what is left of the edit, as its projection on itself, 1 when all of it is."""
        change = size = kept = edit = 0.0
        for name in self.names:
            old = self.model.get_parameter(name)
            base = self.weight("base", name, old)
            change, size = change + _squares(base - old), size + _squares(old)
            if name in self.edit:
                tau = moved(torch.zeros_like(old), self.edit[name])
                kept += float(((self.weight("edited", name, old) - base) * tau).sum(dtype=torch.float64))
                edit += _squares(tau)
        noise = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
        usual = _squares(FORMS[self.form](noise) - noise) / _squares(noise)
        numbers = {"base_moved": round((change / size / usual) ** 0.5, 4)} if size else {}
        return numbers | ({"edit_kept": round(kept / edit, 4)} if edit else {})

    def note(self, numbers: dict[str, float]) -> str:
        """What makes the number of this form less than it looks."""
        notes = []
        if numbers.get("base_moved", 1.0) < OWN_GRID:
            notes.append("the base's own grid: rounding puts the edit back, whatever it was")
        if self.left:
            notes.append(f"{self.left} linear weights were not rounded: rows of no multiple of {GGUF_BLOCK}")
        return "; ".join(notes)

    def _module(self, name: str) -> Any:
        return self.model.get_submodule(name.rpartition(".")[0])

    def _width(self, name: str) -> int:
        shape = self.model.get_parameter(name).shape
        return shape[0] if isinstance(self._module(name), Conv1D) else shape[1]


def int8(weight_OI: torch.Tensor) -> torch.Tensor:
    """Absmax to 127 for each output row, rounded to the nearest (Dettmers et al., arXiv:2208.07339)."""
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
    return (weight_OI / scale_O1).round() * scale_O1


@cache
def nf4_levels() -> torch.Tensor:
    """The 16 levels, ascending, -1..1: quantiles of a normal distribution, 8 below and 9 above zero, which they share
    (Dettmers et al., arXiv:2305.14314)."""
    edge = (1 / 32 + 1 / 30) / 2
    below = torch.special.ndtri(torch.linspace(edge, 0.5, 8, dtype=torch.float64))
    above = -torch.special.ndtri(torch.linspace(edge, 0.5, 9, dtype=torch.float64)).flip(0)
    return (torch.cat((below, above[1:])) / above[-1]).float()


def nf4(weight_OI: torch.Tensor) -> torch.Tensor:
    """Each block of 64, by its absmax, to the nearest level."""
    flat = weight_OI.flatten()
    block_K64 = torch.nn.functional.pad(flat, (0, -len(flat) % NF4_BLOCK)).view(-1, NF4_BLOCK)
    scale_K1 = block_K64.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)
    levels = nf4_levels().to(weight_OI.device)
    nearest = torch.bucketize(block_K64 / scale_K1, (levels[1:] + levels[:-1]) / 2)
    return (levels[nearest] * scale_K1).flatten()[: len(flat)].view_as(weight_OI)


def gguf(kind: str, weight_OI: torch.Tensor) -> torch.Tensor:
    """GGUF's own code, there and back; rows are multiples of 32."""
    from gguf import GGMLQuantizationType, quants

    form = GGMLQuantizationType[kind]
    back = quants.dequantize(quants.quantize(weight_OI.cpu().contiguous().numpy(), form), form)
    return torch.from_numpy(back).to(weight_OI.device)


def _squares(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().sum())


FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "int8": int8,
    "nf4": nf4,
    "q8_0": partial(gguf, "Q8_0"),
    "q4_0": partial(gguf, "Q4_0"),
    "q4_1": partial(gguf, "Q4_1"),
}
