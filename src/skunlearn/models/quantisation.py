"""Weights through eight or four bits and back: true round trips in floating point, on any
machine."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.models.architecture import linear_modules
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean

NF4_BLOCK, GGUF_BLOCK = 64, 32


def int8(weight_OI: torch.Tensor) -> torch.Tensor:
    """Absmax to 127 for each output row, rounded to the nearest (Dettmers et al.,
    arXiv:2208.07339)."""
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
    return (weight_OI / scale_O1).round() * scale_O1


@cache
def nf4_levels() -> torch.Tensor:
    """The 16 levels, ascending, -1..1: quantiles of a normal distribution, 8 below and 9 above
    zero, which they share (Dettmers et al., arXiv:2305.14314)."""
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


def q4_0(weight_OI: torch.Tensor) -> torch.Tensor:
    """GGUF's form of that name, to the last bit: blocks of 32, by the number farthest from zero, in
    16 even steps."""
    block_K32 = weight_OI.reshape(-1, GGUF_BLOCK)
    step_K1 = block_K32.gather(1, block_K32.abs().argmax(dim=1, keepdim=True)) / -8
    inverse_K1 = torch.where(step_K1 == 0, 0, 1 / step_K1)
    place = (block_K32.double() * inverse_K1.double() + 8.5).trunc().clamp(0, 15).float()
    return (step_K1.half().float() * (place - 8)).view_as(weight_OI)


def gguf(kind: str, weight_OI: torch.Tensor) -> torch.Tensor:
    """GGUF's own code, there and back; rows are multiples of 32."""
    from gguf import GGMLQuantizationType, quants

    form = GGMLQuantizationType[kind]
    back = quants.dequantize(quants.quantize(weight_OI.cpu().contiguous().numpy(), form), form)
    return torch.from_numpy(back).to(weight_OI.device)


QUANTISERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "int8": int8,
    "nf4": nf4,
    "q8_0": partial(gguf, "Q8_0"),
    "q4_0": q4_0,
    "q4_1": partial(gguf, "Q4_1"),
}


def check_forms(option: str, forms: Iterable[str]) -> None:
    """Refuse names that are no form.

    Raises:
        ConfigError: with the option and the nearest form.
    """
    for form in forms:
        if form not in QUANTISERS:
            raise ConfigError(f"{option}: unknown form '{form}': {did_you_mean(form, QUANTISERS)}")


def quantisable_modules(model: Any, form: str) -> list[str]:
    """The linear modules in the layers whose weights a form takes: all, but for rows that do not
    fit its blocks."""
    names = linear_modules(model)
    return [
        name
        for name in names
        if form in ("int8", "nf4") or _width(model.get_submodule(name)) % GGUF_BLOCK == 0
    ]


def rounded(module: Any, weight: torch.Tensor, form: str) -> torch.Tensor:
    """A weight of this module, as it comes back from `form`, in float32."""
    turned = isinstance(module, Conv1D)  # GPT-2's keep (in, out)
    rounded_OI = QUANTISERS[form]((weight.T if turned else weight).float())
    return rounded_OI.T if turned else rounded_OI


@contextmanager
def quantised(model: Any, form: str) -> Iterator[None]:
    """A block in which each linear module computes with its rounded weight, which is there only
    while it does.

    Weights that are in four bits already stay as they are.
    """
    kept: dict[Any, torch.Tensor] = {}

    def before(module: Any, _args: Any) -> None:
        kept[module] = module.weight.data
        module.weight.data = rounded(module, module.weight.data, form).to(module.weight.dtype)

    def after(module: Any, _args: Any, _output: Any) -> None:
        module.weight.data = kept.pop(module)

    handles = []
    for name in quantisable_modules(model, form):
        module = model.get_submodule(name)
        if module.weight.is_floating_point():
            handles += [
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after),
            ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, weight in kept.items():
            module.weight.data = weight


def _width(module: Any) -> int:
    return int(module.weight.shape[0] if isinstance(module, Conv1D) else module.weight.shape[1])
