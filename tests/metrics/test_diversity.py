"""distinct-n by hand."""

import pytest

from skunlearn.metrics.diversity import distinct_n


def test_pairs_are_counted_over_all_answers():
    # a b, b a, a b | a b: two different of four
    assert distinct_n([["a", "b", "a", "b"], ["a", "b"]], 2) == pytest.approx(2 / 4)


def test_answers_too_short_say_nothing():
    assert distinct_n([["a"], []], 2) is None
