"""Round trips by hand on one block, the base's own grid, and what is left of an edit."""

from dataclasses import replace

import pytest
import torch
import toy

from skunlearn.attacks.base import Target
from skunlearn.attacks.quantise import FORMS, Quantise, Rounding, nf4_levels
from skunlearn.errors import ConfigError
from skunlearn.task_vector import LowRank, TaskVector


def test_int8_by_hand():
    """absmax 12.7 -> a step of 0.1: 0.26 -> 3 steps; the row below has steps of 1."""
    weight = torch.tensor([[12.7, 0.26, -0.04, -3.33], [-127.0, 0.4, 0.6, 100.2]])
    expected = torch.tensor([[12.7, 0.3, 0.0, -3.3], [-127.0, 0.0, 1.0, 100.0]])
    assert torch.allclose(FORMS["int8"](weight), expected, atol=1e-5)
    assert not FORMS["int8"](torch.zeros(2, 3)).any()


def test_nf4_levels_are_the_published_ones():
    published = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
                 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]  # fmt: skip
    assert nf4_levels().tolist() == pytest.approx(published, abs=1e-4)


def test_nf4_by_hand():
    """A block of 64 with absmax 2: 0.5 is 0.25 of it, nearest to 0.2461; the block behind it has absmax 1."""
    weight = torch.zeros(2, 40)  # 80 weights: one whole block and a short one
    weight.view(-1)[:4] = torch.tensor([-2.0, 0.5, 0.16, -0.6])
    weight.view(-1)[64:66] = torch.tensor([1.0, 0.5])
    back = FORMS["nf4"](weight).view(-1)
    assert back[:5].tolist() == pytest.approx([-2.0, 2 * 0.24611, 2 * 0.07958, 2 * -0.28444, 0.0], abs=1e-4)
    assert back[64:67].tolist() == pytest.approx([1.0, 0.44071, 0.0], abs=1e-4)


def test_q4_0_by_hand():
    """The weight of largest size is -8 steps: with -16 a step is 2; 15 would be 7.5 steps, and 7 is the last."""
    weight = torch.arange(-16.0, 16.0).view(1, 32)
    back = FORMS["q4_0"](weight)[0]
    assert back[0] == -16 and back[2] == -14 and back[16] == 0 and back[20] == 4 and back[31] == 14
    assert all(value % 2 == 0 for value in back.tolist())


def test_q4_1_and_q8_0_by_hand():
    """Q4_1: least and largest and 14 even steps between. Q8_0: absmax is 127 steps."""
    weight = torch.arange(0.0, 32.0).clamp(max=30).view(1, 32)
    assert FORMS["q4_1"](weight)[0, ::2].tolist() == [2.0 * n for n in range(16)]
    weight = torch.zeros(1, 32)
    weight[0, :3] = torch.tensor([127.0, 3.4, -3.6])
    assert FORMS["q8_0"](weight)[0, :3].tolist() == [127.0, 3.0, -4.0]


def on_the_grid(target: Target, form: str) -> Target:
    """A base that was loaded from a file of that form."""
    for name in Rounding(target, form).names:
        parameter = target.lm.model.get_parameter(name)
        parameter.data = FORMS[form](parameter.data)
    return target


def test_the_bases_own_grid_is_found_and_labelled(target: Target):
    small = TaskVector({n: d.scaled(0.005) for n, d in target.edit.deltas.items() if isinstance(d, LowRank)}, 1.0)
    target = on_the_grid(replace(target, edit=small), "q4_1")
    rows = {(row.variant, row.on): row for row in Quantise(forms=("q4_1", "q8_0", "nf4")).situations(target)}
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
        expected = FORMS["int8"](whole.T).T if turned else FORMS["int8"](whole)
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
