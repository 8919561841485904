"""LoRA on a linear layer with fewer passes over the activations than in peft.

peft adds two tensors as wide as the layer's output, forward and backward, and scales one of them.
Here the matrix products add to the output in place. The results are the same but for rounding.
"""

from types import MethodType
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from skunlearn.models.compat import has_forward_hooks, lora_layers


def fuse(model: Any) -> None:
    """Use the fused computation in every LoRA layer on a plain linear module.

    Other layers are left to peft. So are calls under autocast, calls with weights in another
    precision than the factors, and calls of a linear module with hooks, such as a temporary edit.
    """
    for _, layer in lora_layers(model):
        if type(layer.get_base_layer()) is torch.nn.Linear:
            layer.forward = MethodType(_forward, layer)


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """The forward pass of a LoRA layer; peft's own where the fused one does not apply."""
    base = layer.base_layer
    a_RI = layer.lora_A["default"].weight
    b_OR = layer.lora_B["default"].weight
    one_dtype = x.dtype == base.weight.dtype == a_RI.dtype
    autocast = torch.is_autocast_enabled(x.device.type)
    inactive = layer.disable_adapters or layer.merged
    if inactive or autocast or not one_dtype or has_forward_hooks(base):
        return type(layer).forward(layer, x)
    return _LoraLinear.apply(x, base.weight, base.bias, a_RI, b_OR, layer.scaling["default"])


class _LoraLinear(torch.autograd.Function):
    """y = x W^T + bias + scale * (x A^T) B^T, where W and the bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        low_NR = x_NI @ a_RI.T
        y_NO = x_NI @ weight_OI.T if bias_O is None else torch.addmm(bias_O, x_NI, weight_OI.T)
        y_NO.addmm_(low_NR, b_OR.T, alpha=scale)
        ctx.save_for_backward(x_NI, weight_OI, a_RI, b_OR, low_NR)
        ctx.scale = scale
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_NI, weight_OI, a_RI, b_OR, low_NR = ctx.saved_tensors
        needs_x, _, _, needs_a, needs_b, _ = ctx.needs_input_grad
        g_NO = gradient.reshape(-1, gradient.shape[-1])
        g_NR = (g_NO @ b_OR).mul_(ctx.scale)
        g_x = g_a = g_b = None
        if needs_x:
            g_x = (g_NO @ weight_OI).addmm_(g_NR, a_RI).view(*gradient.shape[:-1], -1)
        if needs_a:
            g_a = g_NR.T @ x_NI
        if needs_b:
            g_b = (g_NO.T @ low_NR).mul_(ctx.scale)
        return g_x, None, None, g_a, g_b, None
