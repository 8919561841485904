"""LoRA beside a linear layer in fewer passes over the activations than peft's: the same numbers,
but for rounding.

peft adds two tensors as wide as the layer's output, forward and backward, and scales one. Here the
matrix products add to what is there.
"""

from types import MethodType
from typing import Any

import torch
from torch.autograd.function import once_differentiable


def fuse(model: Any) -> None:
    """Let every LoRA layer on a plain linear one compute in this way; others stay as peft has them.

    Autocast, weights in another precision than LoRA's factors, and a linear layer with hooks (an
    edit for a while is one) are peft's at each call.
    """
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer) and type(module.get_base_layer()) is torch.nn.Linear:
            module.forward = MethodType(_forward, module)


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    base = layer.base_layer
    a_RI, b_OR = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    plain = x.dtype == base.weight.dtype == a_RI.dtype and not torch.is_autocast_enabled(
        x.device.type
    )
    hooked = base._forward_hooks or base._forward_pre_hooks  # what they do is not in the weights
    if layer.disable_adapters or layer.merged or hooked or not plain:
        return type(layer).forward(layer, x)
    return _LoraLinear.apply(x, base.weight, base.bias, a_RI, b_OR, layer.scaling["default"])


class _LoraLinear(torch.autograd.Function):
    """`y = x W^T + bias + scale (x A^T) B^T`; W and the bias are frozen."""

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
        of_x, _, _, of_a, of_b, _ = ctx.needs_input_grad
        g_NO = gradient.reshape(-1, gradient.shape[-1])
        g_NR = (g_NO @ b_OR).mul_(ctx.scale)
        g_x = (g_NO @ weight_OI).addmm_(g_NR, a_RI).view(*gradient.shape[:-1], -1) if of_x else None
        g_a = g_NR.T @ x_NI if of_a else None
        g_b = (g_NO.T @ low_NR).mul_(ctx.scale) if of_b else None
        return g_x, None, None, g_a, g_b, None
