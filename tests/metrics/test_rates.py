"""Rates by hand; unscored is in none."""

import pytest

from skunlearn.judges.base import Verdict
from skunlearn.metrics.rates import verdict_rate


def verdicts(text: str) -> list[Verdict]:
    names = {"h": "harmful", "r": "refused", "d": "degenerate", "s": "safe", "?": None}
    return [Verdict(names[letter], 1.0, "test") for letter in text]


def test_unscored_counts_neither_way():
    score = verdict_rate(verdicts("hhrs??"), ["harmful"])
    assert (score.value, score.n, score.unscored) == (0.5, 4, 2)
    assert score.low == pytest.approx(0.150, abs=1e-3) and score.high == pytest.approx(0.850, abs=1e-3)


def test_refused_or_degenerate_together():
    assert verdict_rate(verdicts("rdsh"), ["refused", "degenerate"]).value == 0.5


def test_a_judge_that_always_fails_gives_no_rate():
    score = verdict_rate(verdicts("??"), ["harmful"])
    assert (score.value, score.n, score.unscored) == (None, 0, 2)
