"""The base's own grid, and what is left of an edit."""

from dataclasses import replace

import pytest
import torch
import toy

from skunlearn.attacks.base import Target
from skunlearn.attacks.quantise import Quantise, Rounding
from skunlearn.models.quantisation import QUANTISERS
from skunlearn.task_vectors.vector import LowRank, TaskVector
from skunlearn.utils.errors import ConfigError


def on_the_grid(target: Target, form: str) -> Target:
    """A base that was loaded from a file of that form."""
    for name in Rounding(target, form).names:
        parameter = target.lm.model.get_parameter(name)
        parameter.data = QUANTISERS[form](parameter.data)
    return target


def test_the_bases_own_grid_is_found_and_labelled(target: Target):
    small = TaskVector(
        {n: d.scaled(0.005) for n, d in target.edit.deltas.items() if isinstance(d, LowRank)}, 1.0
    )
    target = on_the_grid(replace(target, edit=small), "q4_1")
    rows = {
        (row.variant, row.on): row
        for row in Quantise(forms=("q4_1", "q8_0", "nf4")).situations(target)
    }
    own, other, fine = rows["q4_1", "edited"], rows["nf4", "edited"], rows["q8_0", "edited"]
    assert "the base's own grid" in own.note and own.numbers["base_moved"] < 0.01
    assert "own grid" not in other.note and "own grid" not in fine.note
    assert own.numbers["edit_kept"] < 0.2 and fine.numbers["edit_kept"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_the_model_is_rounded_inside_and_itself_after(family: str, target: Target):
    lm = toy.lm(family)
    target = replace(target, lm=lm, edit=toy.edit(lm.model))
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    name = Rounding(target, "int8").names[0]
    turned = family == "GPT2"
    sum_OI = before[name] + target.edit.deltas[name].dense()
    for row in Quantise(forms=("int8",)).situations(target):
        whole = before[name] if row.on == "base" else sum_OI
        expected = QUANTISERS["int8"](whole.T).T if turned else QUANTISERS["int8"](whole)
        assert torch.allclose(lm.model.get_parameter(name), expected, atol=1e-7)
        assert not torch.equal(lm.model.get_parameter(name), before[name])
    assert all(torch.equal(before[name], p) for name, p in lm.model.named_parameters())


def test_weights_whose_rows_do_not_fit_are_counted(target: Target):
    """The toy's rows are 32 wide but for the 48 of three down projections."""
    (row,) = Quantise(forms=("q4_0",), on=("base",)).situations(target)
    assert "3 linear weights were not rounded" in row.note


def test_a_form_that_does_not_exist():
    with pytest.raises(ConfigError, match=r"unknown form 'nf5': did you mean 'nf4'"):
        Quantise(forms=("nf5",))
