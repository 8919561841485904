"""LoRA in fewer passes: peft's numbers and gradients, and peft itself where it does not apply."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from skunlearn.training.fused_lora import fuse


class _Net(torch.nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = torch.nn.Linear(12, 20, bias=bias), torch.nn.Linear(20, 8, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


def with_lora(bias: bool = True) -> Any:
    model = get_peft_model(_Net(bias), LoraConfig(r=3, lora_alpha=5, target_modules=["one", "two"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.manual_seed(1)))
    return model


def results(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
    model.zero_grad()
    x.grad = None
    y = model(x)
    y.square().sum().backward()
    return y.detach(), {"x": x.grad} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", ["", "lora_A", "lora_B"])
@pytest.mark.parametrize("input_moves", [True, False])
def test_numbers_and_gradients_are_those_of_peft(bias: bool, frozen: str, input_moves: bool):
    model = with_lora(bias).double()  # so that rounding hides nothing
    for name, parameter in model.named_parameters():
        if frozen and frozen in name:
            parameter.requires_grad_(False)
    x = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=input_moves)
    y, theirs = results(model, x)
    fuse(model)
    again, ours = results(model, x)
    assert "_LoraLinear" in type(model(x).grad_fn).__name__, "it was not used"
    torch.testing.assert_close(again, y)
    assert {name for name, g in ours.items() if g is not None} == {
        n for n, g in theirs.items() if g is not None
    }
    for name, gradient in theirs.items():
        if gradient is not None:
            torch.testing.assert_close(ours[name], gradient, msg=name)


def test_where_it_does_not_apply_peft_computes():
    """Adapters off, hooks on the layer below, autocast, a base in half precision."""
    x = torch.randn(2, 7, 12)
    plain, fused = with_lora(), with_lora()
    fuse(fused)
    with plain.disable_adapter(), fused.disable_adapter():
        assert torch.equal(fused(x), plain(x))
    for model in (plain, fused):
        model.base_model.model.one.base_layer.register_forward_hook(lambda _module, _args, y: y + 1)
    assert torch.equal(fused(x), plain(x)) and not torch.equal(fused(x), with_lora()(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert fused(x).dtype == torch.bfloat16 and torch.equal(fused(x), plain(x))
    for model in (plain, fused):
        for name, parameter in model.named_parameters():
            if "lora" not in name:
                parameter.data = parameter.data.bfloat16()
    assert torch.equal(fused(x.bfloat16()), plain(x.bfloat16()))
    assert not torch.equal(fused(x.bfloat16()), fused.base_model.model.one.base_layer(x.bfloat16()))
