"""Multiple choice by likelihood, on a model that only knows letters."""

import torch
import toy

from skunlearn.data.examples import Choice
from skunlearn.metrics.choice import accuracy
from skunlearn.metrics.likelihood import RowLikelihood


def test_the_likeliest_per_character_is_chosen(monkeypatch):
    questions = [Choice("q", ("ab", "abcd"), 1), Choice("q", ("a", "b"), 0), Choice("q", ("a", "b"), 0)]
    # per character: 1.0 against 0.75 right; 2 against 1 wrong; equal: wrong
    sums = [2.0, 3.0, 2.0, 1.0, 1.0, 1.0]
    monkeypatch.setattr("skunlearn.metrics.choice.row_likelihoods", lambda *_: [RowLikelihood(1, s, 0) for s in sums])
    score = accuracy(toy.lm(), questions)
    assert score.value == 1 / 3 and score.n == 3


def test_nan_logits_are_unscored():
    lm = toy.lm()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(float("nan"))
    score = accuracy(lm, [Choice("q", ("a", "b"), 0)])
    assert score.value is None and score.unscored == 1
