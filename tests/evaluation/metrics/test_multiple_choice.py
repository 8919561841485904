"""Multiple choice by likelihood, on a model that only knows letters."""

from types import SimpleNamespace

import torch
import toy

from skunlearn.data.examples import Choice, Split
from skunlearn.evaluation.metrics.likelihood import RowLikelihood
from skunlearn.evaluation.metrics.multiple_choice import accuracy, choice
from skunlearn.utils.progress import Progress


def test_the_likeliest_per_character_is_chosen(monkeypatch):
    questions = [
        Choice("q", ("ab", "abcd"), 1),
        Choice("q", ("a", "b"), 0),
        Choice("q", ("a", "b"), 0),
    ]
    # per character: 1.0 against 0.75 right; 2 against 1 wrong; equal: wrong
    sums = [2.0, 3.0, 2.0, 1.0, 1.0, 1.0]
    monkeypatch.setattr(
        "skunlearn.evaluation.metrics.multiple_choice.row_likelihoods",
        lambda *_, **__: [RowLikelihood(1, s, 0) for s in sums],
    )
    score = accuracy(toy.lm(), questions)
    assert score.value == 1 / 3 and score.n == 3


def test_general_questions_and_those_next_door_are_counted_apart(monkeypatch):
    right, wrong = Choice("q", ("a", "b"), 0), Choice("q", ("a", "b"), 1)
    likelier = {"a": 1.0, "b": 2.0}
    monkeypatch.setattr(
        "skunlearn.evaluation.metrics.multiple_choice._encoded", lambda _, __, answer: answer
    )
    monkeypatch.setattr(
        "skunlearn.evaluation.metrics.multiple_choice.row_likelihoods",
        lambda _, rows, **__: [RowLikelihood(1, likelier[r], 0) for r in rows],
    )
    part = Split(choice=(right, right, wrong, wrong), neighbour=(wrong, right))
    found = choice(SimpleNamespace(part=part, choices=3, lm=toy.lm(), progress=Progress()))
    assert {name: (score.value, score.n) for name, score in found.items()} == {
        "choice_accuracy": (2 / 3, 3),
        "neighbour_accuracy": (0.5, 2),
    }


def test_nan_logits_are_unscored():
    lm = toy.lm()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(float("nan"))
    score = accuracy(lm, [Choice("q", ("a", "b"), 0)])
    assert score.value is None and score.unscored == 1
