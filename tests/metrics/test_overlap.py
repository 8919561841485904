"""ROUGE-L by hand."""

import pytest

from skunlearn.metrics.overlap import rouge_l


def test_longest_common_subsequence():
    # "the cat sat" is common: 2 * 3 / (4 + 5)
    assert rouge_l(["the", "cat", "sat", "down"], ["the", "big", "cat", "sat", "still"]) == pytest.approx(6 / 9)
    assert rouge_l(["a"], ["a"]) == 1.0
    assert rouge_l(["b", "a"], ["a", "b"]) == pytest.approx(0.5)  # order counts
    assert rouge_l([], ["a"]) == rouge_l(["a"], []) == 0.0
