"""Cosine similarity of embeddings."""

import pytest

from skunlearn.metrics.similarity import similarity_score


def test_equal_answers_have_one_and_empty_ones_are_unscored():
    score = similarity_score(["the same", "", "x"], ["the same", "gone", " "])
    assert score.value == pytest.approx(1, abs=1e-5) and (score.n, score.unscored) == (1, 2)
    assert similarity_score([""], [""]).value is None


def test_other_answers_have_less():
    score = similarity_score(["bread and butter"], ["99 12 !!"])
    assert score.value is not None and score.value < 0.999
