"""Intervals against tables and limits."""

import math

import pytest

from skunlearn.stats import bootstrap_mean, paired_difference, wilson


def test_wilson_interval_of_8_in_10():
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)  # Wilson (1927), textbook value


def test_wilson_stays_inside_0_and_1_and_knows_nothing_of_nothing():
    assert wilson(0, 20)[0] == 0 and wilson(20, 20)[1] == 1
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_of_a_constant_has_no_width():
    assert bootstrap_mean([2.0] * 9) == (2.0, 2.0)


def test_bootstrap_is_weighted_by_tokens():
    low, high = bootstrap_mean([0.0, 1.0], [1.0, 99.0])
    assert low == 0.0 and high == 1.0
    assert all(math.isnan(end) for end in bootstrap_mean([]))


def test_bootstrap_width_matches_the_normal_one():
    values = [0.0, 1.0] * 200
    low, high = bootstrap_mean(values)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.1)


def test_paired_difference_is_narrower_than_unpaired_noise():
    before = [float(n % 7) for n in range(70)]
    value, low, high = paired_difference(before, [b + 1 for b in before])
    assert (value, low, high) == (1.0, 1.0, 1.0)
