"""Round trips by hand on one block, against GGUF's own code, and models that compute with rounded
weights."""

import copy

import pytest
import torch
import toy

from skunlearn.models.quantisation import (
    QUANTISERS,
    gguf,
    nf4_levels,
    quantisable_modules,
    quantised,
    rounded,
)


def test_int8_by_hand():
    """absmax 12.7 -> a step of 0.1: 0.26 -> 3 steps; the row below has steps of 1."""
    weight = torch.tensor([[12.7, 0.26, -0.04, -3.33], [-127.0, 0.4, 0.6, 100.2]])
    expected = torch.tensor([[12.7, 0.3, 0.0, -3.3], [-127.0, 0.0, 1.0, 100.0]])
    assert torch.allclose(QUANTISERS["int8"](weight), expected, atol=1e-5)
    assert not QUANTISERS["int8"](torch.zeros(2, 3)).any()


def test_nf4_levels_are_the_published_ones():
    published = [
        -1.0,
        -0.6962,
        -0.5251,
        -0.3949,
        -0.2844,
        -0.1848,
        -0.0911,
        0.0,
        0.0796,
        0.1609,
        0.2461,
        0.3379,
        0.4407,
        0.5626,
        0.7230,
        1.0,
    ]
    assert nf4_levels().tolist() == pytest.approx(published, abs=1e-4)


def test_nf4_by_hand():
    """A block of 64 with absmax 2: 0.5 is 0.25 of it, nearest to 0.2461; the block behind it has
    absmax 1."""
    weight = torch.zeros(2, 40)  # 80 weights: one whole block and a short one
    weight.view(-1)[:4] = torch.tensor([-2.0, 0.5, 0.16, -0.6])
    weight.view(-1)[64:66] = torch.tensor([1.0, 0.5])
    back = QUANTISERS["nf4"](weight).view(-1)
    assert back[:5].tolist() == pytest.approx(
        [-2.0, 2 * 0.24611, 2 * 0.07958, 2 * -0.28444, 0.0], abs=1e-4
    )
    assert back[64:67].tolist() == pytest.approx([1.0, 0.44071, 0.0], abs=1e-4)


def test_q4_0_by_hand():
    """The weight of largest size is -8 steps: with -16 a step is 2; 15 would be 7.5 steps, and 7 is
    the last."""
    weight = torch.arange(-16.0, 16.0).view(1, 32)
    back = QUANTISERS["q4_0"](weight)[0]
    assert back[0] == -16 and back[2] == -14 and back[16] == 0 and back[20] == 4 and back[31] == 14
    assert all(value % 2 == 0 for value in back.tolist())


def test_q4_1_and_q8_0_by_hand():
    """Q4_1: least and largest and 14 even steps between. Q8_0: absmax is 127 steps."""
    weight = torch.arange(0.0, 32.0).clamp(max=30).view(1, 32)
    assert QUANTISERS["q4_1"](weight)[0, ::2].tolist() == [2.0 * n for n in range(16)]
    weight = torch.zeros(1, 32)
    weight[0, :3] = torch.tensor([127.0, 3.4, -3.6])
    assert QUANTISERS["q8_0"](weight)[0, :3].tolist() == [127.0, 3.0, -4.0]


def test_q4_0_is_ggufs_own_to_the_last_bit():
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    weight[0, :32] = 0.0
    assert torch.equal(QUANTISERS["q4_0"](weight), gguf("Q4_0", weight))


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
@pytest.mark.parametrize("form", ["nf4", "q4_0"])
def test_a_passing_model_is_the_rounded_one_and_itself_after(family: str, form: str):
    lm, asked = toy.lm(family), torch.tensor([[5, 6, 7, 8]])
    other, before = copy.deepcopy(lm.model), lm.model(asked).logits
    for name in quantisable_modules(other, form):
        module = other.get_submodule(name)
        module.weight.data = rounded(module, module.weight.data, form)
    with torch.no_grad(), quantised(lm.model, form):
        assert torch.equal(lm.model(asked).logits, other(asked).logits)
    assert torch.equal(lm.model(asked).logits, before) and not torch.equal(
        other(asked).logits, before
    )


def test_a_pass_that_fails_leaves_the_weights_as_they_were():
    lm, asked = toy.lm(), torch.tensor([[5, 6, 7, 8]])
    before = lm.model(asked).logits
    broken = lm.model.get_submodule(quantisable_modules(lm.model, "nf4")[3])
    broken.forward = None
    with pytest.raises(TypeError), quantised(lm.model, "nf4"):
        lm.model(asked)
    del broken.forward
    assert torch.equal(lm.model(asked).logits, before)
