"""The memory that a process held while something ran."""

import subprocess
import sys

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


@pytest.mark.skipif(
    sys.platform != "linux", reason="page faults are counted on Linux, and glibc is its C library"
)
def test_freed_memory_is_kept_inside_the_block_and_given_back_after_it():
    """A large tensor that comes and goes is new memory each time outside, the same inside."""
    faults = """
import resource, psutil, torch
from skunlearn.training.allocator import kept
def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(64 << 18)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
outside = new_pages()
with kept():
    for _ in range(3):  # until there is room for one behind what has come before
        new_pages()
    inside, held = new_pages(), psutil.Process().memory_info().rss
print(outside, inside, held - psutil.Process().memory_info().rss)
"""
    done = subprocess.run(
        [sys.executable, "-c", faults], stdout=subprocess.PIPE, check=True, text=True
    )
    outside, inside, given_back = map(int, done.stdout.split())
    assert outside > 5 * 30 and inside < outside / 10 and given_back > 60 << 20
