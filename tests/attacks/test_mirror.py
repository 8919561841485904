"""The mirror is 2 theta_o - theta_u."""

from dataclasses import replace

import pytest
import torch

from skunlearn.attacks.base import Target
from skunlearn.attacks.mirror import Mirror
from skunlearn.task_vectors.vector import LowRank, TaskVector


@pytest.mark.parametrize("dense", [False, True])
def test_the_mirror_is_twice_the_base_less_the_edited(dense: bool, target: Target):
    model = target.lm.model
    full = {name: d.dense() for name, d in target.edit.deltas.items() if isinstance(d, LowRank)}
    if dense:
        target = replace(target, edit=TaskVector(full, 1.0))
    ids = torch.tensor([target.lm.template.prompt_ids(target.prompts[0])])
    before = {name: p.clone() for name, p in model.named_parameters()}
    (theirs,) = [model(ids).logits for _ in Mirror().situations(target)]
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in full:
                edited = parameter + full[name]
                parameter.copy_(2 * parameter - edited)
        ours = model(ids).logits
    assert torch.allclose(theirs, ours, atol=1e-3, rtol=1e-3)
