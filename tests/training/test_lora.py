"""Which weights are trained, and in which precision."""

from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.dataset import Data
from skunlearn.methods.sku import SKU
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError

STEPS = TrainOptions(steps=6, batch=2, lr=1e-2, checkpoint=2)


def test_full_training_of_half_precision_leaves_the_buffers_alone(pairs: tuple[Path, Path]):
    lm = toy.lm()
    lm.model.to(torch.bfloat16)
    for name, buffer in lm.model.named_buffers():
        lm.model.get_submodule(name.rpartition(".")[0])._buffers[name.rpartition(".")[2]] = (
            buffer.float() / 3
        )
    before = {name: buffer.clone() for name, buffer in lm.model.named_buffers()}
    train(lm, SKU(), Data(*pairs), TrainOptions(steps=1, batch=1), LoraOptions("full"))
    assert before and all(
        torch.equal(buffer, before[name]) for name, buffer in lm.model.named_buffers()
    )
    assert {p.dtype for p in lm.model.parameters()} == {torch.bfloat16}


def test_wrong_names_of_weights_are_told_for_full_training_too(pairs: tuple[Path, Path]):
    with pytest.raises(ConfigError, match=r"no module 'q_prog': did you mean 'q_proj'"):
        train(toy.lm(), SKU(), Data(*pairs), STEPS, LoraOptions("full", modules=("q_prog",)))
    with pytest.raises(ConfigError, match=r"lora\.alpha=0"):
        LoraOptions(alpha=0)
