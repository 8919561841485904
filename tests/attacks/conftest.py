"""A toy target: an edited random model, and data of twenty prompts each."""

from pathlib import Path

import pytest
import toy

from skunlearn.attacks.base import Target
from skunlearn.data.dataset import Data


@pytest.fixture
def target(pairs: tuple[Path, Path]) -> Target:
    """A toy model, its edit, and the measured prompts."""
    lm, data = toy.lm(), Data(*pairs)
    return Target(lm, toy.edit(lm.model), data, data.test.forget)
