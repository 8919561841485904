"""The memory that a process held while something ran."""

import numpy as np
import pytest

from skunlearn.utils.memory import high_water, peak_memory


def test_memory_is_seen_while_it_is_held():
    with peak_memory() as small:
        pass
    with peak_memory() as large:
        held = np.ones(40 * 2**20 // 8)
        while large.peak < small.peak + 30 * 2**20:  # ends within a look or two, or never
            assert held.any()
    assert large.peak >= small.peak + 30 * 2**20


@pytest.mark.skipif(not high_water(), reason="only Linux keeps a process's highest memory")
def test_memory_that_is_held_between_two_looks_is_seen():
    with peak_memory() as seen:
        before = high_water()
        held = np.ones((before + 30 * 2**20) // 8)
        del held
    assert seen.peak >= before + 30 * 2**20
