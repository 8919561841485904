"""Weights rounded to eight or four bits and back: true round trips in floating point.

They run on any machine, without the kernels that compute in fewer bits.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers import Conv1D

from skunlearn.models.architecture import linear_modules
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.hooks import temporary_hooks
from skunlearn.utils.registry import did_you_mean

# Weights that share a scale.
NF4_BLOCK = 64
GGUF_BLOCK = 32


def int8(weight_OI: torch.Tensor) -> torch.Tensor:
    """Round each output row to 127 steps of its largest absolute weight (absmax).

    Source: Dettmers et al., arXiv:2208.07339.
    """
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
    return (weight_OI / scale_O1).round() * scale_O1


@cache
def nf4_levels() -> torch.Tensor:
    """Return the 16 levels of NF4, ascending from -1 to 1.

    They are quantiles of a normal distribution: 8 up to zero and 9 from zero on, which share the
    zero.

    Source: Dettmers et al., arXiv:2305.14314.
    """
    edge = (1 / 32 + 1 / 30) / 2
    below = torch.special.ndtri(torch.linspace(edge, 0.5, 8, dtype=torch.float64))
    above = -torch.special.ndtri(torch.linspace(edge, 0.5, 9, dtype=torch.float64)).flip(0)
    return (torch.cat((below, above[1:])) / above[-1]).float()


def nf4(weight_OI: torch.Tensor) -> torch.Tensor:
    """Divide each block of 64 weights by its absmax and round to the nearest level of NF4."""
    flat = weight_OI.flatten()
    block_K64 = torch.nn.functional.pad(flat, (0, -len(flat) % NF4_BLOCK)).view(-1, NF4_BLOCK)
    scale_K1 = block_K64.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)
    levels = nf4_levels().to(weight_OI.device)
    nearest = torch.bucketize(block_K64 / scale_K1, (levels[1:] + levels[:-1]) / 2)
    return (levels[nearest] * scale_K1).flatten()[: len(flat)].view_as(weight_OI)


def q4_0(weight_OI: torch.Tensor) -> torch.Tensor:
    """Round as GGUF's Q4_0 does, to the last bit.

    The weight of largest size in a block of 32 is -8 steps, and the others are -8 to 7 steps.
    """
    block_K32 = weight_OI.reshape(-1, GGUF_BLOCK)
    step_K1 = block_K32.gather(1, block_K32.abs().argmax(dim=1, keepdim=True)) / -8
    inverse_K1 = torch.where(step_K1 == 0, 0, 1 / step_K1)
    # GGUF stores 0 to 15. It rounds in double precision and keeps the step in half precision.
    stored = (block_K32.double() * inverse_K1.double() + 8.5).trunc().clamp(0, 15).float()
    return (step_K1.half().float() * (stored - 8)).view_as(weight_OI)


def gguf(kind: str, weight_OI: torch.Tensor) -> torch.Tensor:
    """Quantise and dequantise with the package gguf itself.

    Args:
        kind: gguf's name for the type, such as "Q8_0".
        weight_OI: rows are multiples of 32.
    """
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
    """Refuse names that are no form of quantisation.

    Args:
        option: the option that holds them, for the message.
        forms: names, which should be keys of `QUANTISERS`.

    Raises:
        ConfigError: with the option and the nearest name.
    """
    for form in forms:
        if form not in QUANTISERS:
            raise ConfigError(f"{option}: unknown form '{form}': {did_you_mean(form, QUANTISERS)}")


def quantisable_modules(model: Any, form: str) -> list[str]:
    """Return the names of the linear modules that a form of quantisation applies to.

    These are all in the decoder layers. GGUF's forms leave out rows that are not whole blocks.

    Args:
        model: a transformers model.
        form: a key of `QUANTISERS`.
    """
    modules = linear_modules(model)
    if form in ("int8", "nf4"):
        return list(modules)
    return [name for name, module in modules.items() if _row_length(module) % GGUF_BLOCK == 0]


def rounded(module: Any, weight: torch.Tensor, form: str) -> torch.Tensor:
    """Return a weight after the round trip through a form of quantisation, in float32.

    Args:
        module: the linear module that it belongs to.
        weight: in the orientation of the module.
        form: a key of `QUANTISERS`.
    """
    transposed = isinstance(module, Conv1D)  # GPT-2 keeps its weights as (in, out)
    weight_OI = weight.T if transposed else weight
    rounded_OI = QUANTISERS[form](weight_OI.float())
    return rounded_OI.T if transposed else rounded_OI


@contextmanager
def quantised(model: Any, form: str) -> Iterator[None]:
    """A block in which each linear module computes with its rounded weight.

    The rounded weight of a module exists only while the module computes, so that memory holds one
    of them at a time. Weights that are in four bits already stay as they are.

    Args:
        model: a transformers model.
        form: a key of `QUANTISERS`.
    """
    originals: dict[Any, torch.Tensor] = {}

    def before(module: Any, _args: Any) -> None:
        originals[module] = module.weight.data
        module.weight.data = rounded(module, module.weight.data, form).to(module.weight.dtype)

    def after(module: Any, _args: Any, _output: Any) -> None:
        module.weight.data = originals.pop(module)

    def register() -> Iterator[RemovableHandle]:
        for name in quantisable_modules(model, form):
            module = model.get_submodule(name)
            if module.weight.is_floating_point():
                yield module.register_forward_pre_hook(before)
                yield module.register_forward_hook(after)

    try:
        with temporary_hooks(register()):
            yield
    finally:
        # A module that failed while it computed still has its rounded weight.
        for module, weight in originals.items():
            module.weight.data = weight


def _row_length(module: Any) -> int:
    """Return the number of inputs of a linear module."""
    return int(module.weight.shape[0] if isinstance(module, Conv1D) else module.weight.shape[1])
