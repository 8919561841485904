"""Membership inference by hand."""

import numpy as np
import pytest

from skunlearn.metrics.membership import auc_score, lowest_mean, per_byte
from skunlearn.metrics.tokens import TokenStats


def test_auc_counts_pairs_and_halves_ties():
    score = auc_score([3.0, 1.0], [1.0, 0.0])  # 3>1, 3>0, 1=1, 1>0
    assert score.value == pytest.approx(3.5 / 4) and score.n == 4
    assert score.low is not None and score.high is not None and score.low <= score.value <= score.high <= 1


def test_one_side_missing_or_broken_is_unscored():
    score = auc_score([1.0, 2.0], [float("nan")])
    assert score.value is None and score.unscored == 2


def test_min_k_reads_the_least_likely_fifth():
    assert lowest_mean(np.array([-1.0, -9.0, -2.0, -3.0, -7.0, -1, -1, -1, -1, -1])) == -8.0
    assert lowest_mean(np.array([-4.0, -2.0])) == -4.0


def test_zlib_divides_by_compressed_bytes():
    stats = TokenStats(np.array([-2.0, -2.0]), np.array([True, True]), np.zeros(2))
    assert per_byte(stats, "a" * 500) < per_byte(stats, "the quick brown fox jumps over the lazy dog" * 3) < 0
