"""Nothing is left along the direction, at any layer of any architecture; the model comes back."""

import pytest
import torch
import toy

from skunlearn.attacks.ablation import Ablation, decoder_layers, difference_of_means, without
from skunlearn.attacks.base import Target
from skunlearn.utils.errors import ConfigError, ModelError


def states(model: torch.nn.Module, ids: torch.Tensor) -> list[torch.Tensor]:
    """What each layer gives."""
    seen: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(
            lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in decoder_layers(model)
    ]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return seen


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
    lm, forget, retain = target.lm, target.forget(3), target.retain(2)

    def mean(examples: tuple) -> torch.Tensor:
        rows = [
            states(lm.model, torch.tensor([lm.template.prompt_ids(e)]))[1][0, -1] for e in examples
        ]
        return torch.stack(rows).mean(dim=0)

    expected = mean(forget) - mean(retain)
    found = difference_of_means(lm, forget, retain, 0.5)  # the second of three layers
    assert torch.allclose(found, expected / expected.norm(), atol=1e-4)
    with pytest.raises(ModelError, match="no direction"):
        difference_of_means(lm, forget, forget, 0.5)


def test_each_model_gets_its_own_direction(target: Target):
    rows = list(Ablation(examples=3).situations(target))
    assert [(row.on, row.cost.examples) for row in rows] == [("edited", 6), ("base", 6)]
    with pytest.raises(ConfigError, match="share of the depth"):
        Ablation(layer=1.5)
