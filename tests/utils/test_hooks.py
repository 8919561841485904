"""Hooks are gone after the block, whatever happened."""

from collections.abc import Iterator

import pytest
import torch
from torch.utils.hooks import RemovableHandle

from skunlearn.utils.hooks import temporary_hooks


def test_hooks_act_inside_the_block_alone():
    module, seen = torch.nn.Linear(2, 2), []
    with temporary_hooks([module.register_forward_hook(lambda *_: seen.append("inside"))]):
        module(torch.ones(1, 2))
    module(torch.ones(1, 2))
    assert seen == ["inside"]


def test_an_error_in_the_block_or_while_hooks_are_registered_leaves_none():
    module = torch.nn.Linear(2, 2)

    def failing() -> Iterator[RemovableHandle]:
        yield module.register_forward_hook(lambda *_: None)
        raise ValueError("the second cannot be registered")

    with pytest.raises(ValueError), temporary_hooks(failing()):
        pass
    with pytest.raises(KeyError), temporary_hooks([module.register_forward_hook(lambda *_: None)]):
        raise KeyError
    assert not module._forward_hooks
