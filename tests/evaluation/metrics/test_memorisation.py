"""Memorisation by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from skunlearn.evaluation.metrics.memorisation import (
    exact_memorisation,
    extraction_strength,
    memory,
    probability,
)
from skunlearn.evaluation.metrics.token_stats import TokenStats


def row(*greedy: bool, log_p: float = math.log(0.5)) -> TokenStats:
    return TokenStats(np.full(len(greedy), log_p), np.array(greedy), np.zeros(len(greedy)))


def test_probability_is_the_geometric_mean():
    mixed = TokenStats(np.log([0.25, 1.0]), np.array([True, True]), np.zeros(2))
    assert probability(mixed) == pytest.approx(0.5)


def test_exact_memorisation_counts_first_choices():
    assert exact_memorisation(row(True, False, True, True)) == 0.75


@pytest.mark.parametrize(
    ("greedy", "strength"),
    [((True, False, True, True), 0.5), ((True, True), 1.0), ((True, False), 0.0)],
)
def test_extraction_strength_is_the_greedy_ending(greedy: tuple[bool, ...], strength: float):
    assert extraction_strength(row(*greedy)) == strength


def test_means_are_over_rows_and_nan_logits_are_unscored_not_forgotten():
    broken = row(False, False, log_p=math.nan)
    rows = [row(True, True), row(True, False, log_p=0.0), broken]
    found = memory(SimpleNamespace(answered={"seen": rows}, groups={"seen": rows}))
    assert {name: score.value for name, score in found.items()} == pytest.approx(
        {
            "forget_probability": 0.75,
            "forget_exact_memorisation": 0.75,
            "forget_extraction_strength": 0.5,
        }
    )
    assert all((score.n, score.unscored) == (2, 1) for score in found.values())
    dead = memory(SimpleNamespace(answered={"seen": [broken]}, groups={"seen": [broken]}))
    assert all(score.value is None for score in dead.values())
