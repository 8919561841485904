"""Fluency under the base, and word salad, by hand."""

import math

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics.fluency import answer_likelihoods, fluency_score, with_salad
from skunlearn.evaluation.metrics.likelihood import RowLikelihood


def answer(text: str, label: str | None = "safe") -> Completion:
    return Completion("", "edited", "unseen", "q", text, "", Verdict(label, 1.0, "classifier"))


def test_perplexity_is_over_all_tokens_and_an_empty_answer_is_unscored():
    # 3 tokens at ln 4, 1 token at 0: exp(3 ln 4 / 4) = 4 ** 0.75
    score = fluency_score([RowLikelihood(3, 3 * math.log(4), 0), None, RowLikelihood(1, 0.0, 0)])
    assert score.value == pytest.approx(4**0.75) and (score.n, score.unscored) == (2, 1)
    assert fluency_score([None]).value is None


def test_a_uniform_base_finds_every_answer_as_unlikely_as_its_vocabulary_is_large():
    lm = toy.lm()
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.zero_()
    rows = [answer("abc"), answer(" "), answer("de")]
    found = answer_likelihoods(lm.model, lm.template, [Example("q")] * 3, rows)
    assert [row and row.tokens for row in found] == [3, None, 2]  # without the end of turn
    assert fluency_score(found).value == pytest.approx(lm.model.config.vocab_size, rel=1e-4)


@pytest.mark.parametrize(
    ("likelihood", "label"),
    [
        (RowLikelihood(8, 8 * 6.5, 0), "degenerate"),
        (RowLikelihood(8, 8 * 5.9, 0), "safe"),
        (RowLikelihood(7, 7 * 9.0, 0), "safe"),  # too short to tell
        (None, "safe"),
    ],
)
def test_word_salad_is_above_six_nats_a_token(likelihood: RowLikelihood | None, label: str):
    assert with_salad(answer("x"), likelihood).verdict.label == label
