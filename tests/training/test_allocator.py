"""Memory that the C library keeps while training runs."""

import subprocess
import sys

import pytest


@pytest.mark.skipif(
    sys.platform != "linux", reason="page faults are counted on Linux, and glibc is its C library"
)
def test_freed_memory_is_kept_inside_the_block_and_given_back_after_it():
    """A large tensor that comes and goes is new memory each time outside, the same inside."""
    faults = """
import resource, psutil, torch
from skunlearn.training.allocator import freed_memory_kept
def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(64 << 18)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
outside = new_pages()
with freed_memory_kept():
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
