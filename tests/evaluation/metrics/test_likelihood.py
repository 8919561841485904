"""NLL, perplexity and KL by hand."""

import math

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.likelihood import (
    RowLikelihood,
    kl_score,
    nll_score,
    own_likelihoods,
    perplexity_score,
    row_likelihoods,
)
from skunlearn.models.reference import Reference
from skunlearn.utils.progress import Progress

ROWS = [RowLikelihood(1, 3.0, 0.3), RowLikelihood(3, 3.0, 0.1)]


def test_means_are_over_tokens_not_rows():
    assert nll_score(ROWS).value == pytest.approx(6 / 4)
    assert kl_score(ROWS).value == pytest.approx(0.1)
    assert perplexity_score(ROWS).value == pytest.approx(math.exp(1.5))
    score = nll_score(ROWS)
    assert (score.low, score.high) == pytest.approx((1.0, 3.0))


def test_nan_logits_are_unscored():
    score = kl_score([*ROWS, RowLikelihood(2, float("nan"), float("nan"))])
    assert (score.n, score.unscored) == (2, 1) and score.value == pytest.approx(0.1)
    assert nll_score([RowLikelihood(2, float("nan"), 0)]).value is None
    assert perplexity_score([]).value is None


def test_a_uniform_model_has_the_log_of_its_vocabulary_and_kl_by_hand():
    lm, rows_of = toy.lm(), [Example("a", "bb"), Example("cccc", "d")]
    rows = [lm.template.encode(example, 100) for example in rows_of]
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.zero_()
    vocabulary = lm.model.config.vocab_size
    reference = Reference(lm.model, rows, range(2), True, Progress())
    found = row_likelihoods(lm.model, rows, reference)
    assert [row.tokens for row in found] == [3, 2]
    assert nll_score(found).value == pytest.approx(math.log(vocabulary), rel=1e-5)
    assert kl_score(found).value == pytest.approx(0, abs=1e-6)
    other = toy.lm()
    assert (kl_score(row_likelihoods(other.model, rows, reference)).value or 0) > 0.05


def test_rows_come_back_in_their_order_whatever_their_length():
    lm = toy.lm()
    rows = [lm.template.encode(Example("p", "y" * n), 200) for n in (30, 2, 17, 5)]
    together = row_likelihoods(lm.model, rows)
    alone = [row_likelihoods(lm.model, [row])[0] for row in rows]
    assert [row.tokens for row in together] == [31, 3, 18, 6]
    assert [row.nll for row in together] == pytest.approx([row.nll for row in alone], rel=1e-4)


def test_a_base_needs_no_other_pass_for_its_own_likelihood():
    lm = toy.lm()
    rows = [lm.template.encode(Example("a" * n, "bc" * (n % 5 + 1)), 100) for n in range(1, 20)]
    own = own_likelihoods(rows, Reference(lm.model, rows, range(len(rows)), True, Progress()))
    passed = row_likelihoods(lm.model, rows)
    assert [row.tokens for row in own] == [row.tokens for row in passed]
    assert [row.nll for row in own] == pytest.approx([row.nll for row in passed], rel=1e-5)
    assert {row.kl for row in own} == {0.0}
