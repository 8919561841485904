"""Cosine similarity of embeddings."""

import pytest
import torch

from skunlearn.evaluation.metrics.similarity import similarity_score


def test_equal_answers_have_one_and_empty_ones_are_unscored():
    score = similarity_score(["the same", "", "x"], ["the same", "gone", " "])
    assert score.value == pytest.approx(1, abs=1e-5) and (score.n, score.unscored) == (1, 2)
    assert similarity_score([""], [""]).value is None


def test_the_mean_of_the_cosines_by_hand(monkeypatch: pytest.MonkeyPatch):
    vectors = {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 2.0]}  # a and b: 1 / sqrt 2; a and c: 0
    monkeypatch.setattr(
        "skunlearn.evaluation.metrics.similarity.embeddings",
        lambda texts, _: torch.tensor([vectors[text] for text in texts]),
    )
    score = similarity_score(["a", "a"], ["b", "c"])
    assert score.value == pytest.approx((0.5**0.5 + 0) / 2) and score.n == 2


def test_other_answers_have_less():
    score = similarity_score(["bread and butter"], ["99 12 !!"])
    assert score.value is not None and score.value < 0.999
