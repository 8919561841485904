"""Nothing is left along the direction, at any layer of any architecture; the model comes back."""

from typing import Any

import pytest
import torch
import toy

from skunlearn.attacks.ablation import Ablation, difference_of_means, without
from skunlearn.attacks.base import Target
from skunlearn.data.examples import Example
from skunlearn.models.architecture import decoder_layers, layer_number
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.hooks import temporary_hooks


def states(model: torch.nn.Module, ids: torch.Tensor) -> list[torch.Tensor]:
    """The output of each layer."""
    seen: list[torch.Tensor] = []

    def record(_module: Any, _args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(record) for layer in decoder_layers(model)]
    with temporary_hooks(handles), torch.no_grad():
        model(ids)
    return seen


def direction(
    target: Target, forget: tuple[Example, ...], retain: tuple[Example, ...], layer: int
) -> torch.Tensor:
    """The unit difference of the means behind a layer, one prompt at a time."""
    lm = target.lm
    means = []
    for examples in (forget, retain):
        last_states = []
        for example in examples:
            ids = torch.tensor([lm.template.prompt_ids(example)])
            last_states.append(states(lm.model, ids)[layer][0, -1])
        means.append(torch.stack(last_states).mean(dim=0))
    difference = means[0] - means[1]
    return difference / difference.norm()


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_no_component_is_left_along_the_direction(family: str):
    lm = toy.lm(family)
    ids = torch.randint(6, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    unit_D = torch.nn.functional.normalize(
        torch.randn(32, generator=torch.Generator().manual_seed(1)), dim=0
    )
    before = states(lm.model, ids)
    assert all((hidden @ unit_D).abs().max() > 1e-3 for hidden in before)
    with without(lm.model, unit_D):
        inside = states(lm.model, ids)
    assert all(
        (hidden @ unit_D).abs().max() < 1e-4 * hidden.norm(dim=-1).max() for hidden in inside
    )
    assert all(torch.equal(a, b) for a, b in zip(before, states(lm.model, ids), strict=True))


def test_the_direction_is_the_difference_of_the_means_at_the_last_prompt_token(target: Target):
    lm = target.lm
    forget = target.forget(3)
    retain = target.retain(2)
    found = difference_of_means(lm, forget, retain, 0.5)  # the second of three layers
    assert torch.allclose(found, direction(target, forget, retain, 1), atol=1e-4)
    with pytest.raises(ModelError, match="no direction"):
        difference_of_means(lm, forget, forget, 0.5)


@pytest.mark.parametrize(("share", "layer"), [(0.4, 0), (0.8, 1), (1.0, 2)])
def test_a_share_of_the_depth_names_the_layer_that_it_names_elsewhere(
    share: float, layer: int, target: Target
):
    """Not round(share * (layers - 1)): that makes 0.4 the second of three layers."""
    forget = target.forget(3)
    retain = target.retain(2)
    assert layer_number(target.lm.model, share) == layer
    found = difference_of_means(target.lm, forget, retain, share)
    assert torch.allclose(found, direction(target, forget, retain, layer), atol=1e-4)


def test_half_of_24_layers_is_the_twelfth(monkeypatch: pytest.MonkeyPatch, target: Target):
    layers = torch.nn.ModuleList([torch.nn.Identity() for _ in range(24)])
    read: list[torch.nn.Module] = []

    def record(_lm: object, layer: torch.nn.Module, _examples: object) -> torch.Tensor:
        read.append(layer)
        return torch.tensor([float(len(read))])

    monkeypatch.setattr("skunlearn.models.architecture.decoder_layers", lambda _model: layers)
    monkeypatch.setattr("skunlearn.attacks.ablation.decoder_layers", lambda _model: layers)
    monkeypatch.setattr("skunlearn.attacks.ablation._mean_state", record)
    difference_of_means(target.lm, target.forget(1), target.retain(1), 0.5)
    assert read == [layers[11], layers[11]]


def test_each_model_gets_its_own_direction(target: Target):
    rows = list(Ablation(examples=3).situations(target))
    assert [(row.on, row.cost.examples) for row in rows] == [("edited", 6), ("base", 6)]
    for layer in (1.5, 0.0, -0.1):
        with pytest.raises(ConfigError, match="share of the depth"):
            Ablation(layer=layer)
