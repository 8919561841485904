"""The refusal vector's losses against numbers worked out by hand, and its rows."""

import math

import pytest
import torch
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.base import Scored
from skunlearn.methods.refusal import Refusal
from skunlearn.training.rows import Rows
from skunlearn.utils.errors import ConfigError

P = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
Q = torch.log(torch.tensor([[0.9, 0.1], [0.25, 0.75]]))
LABELS = torch.tensor([0, 1])
ROWS = torch.tensor([0, 0])
KL = (
    0.5 * math.log(0.5 / 0.9)
    + 0.5 * math.log(0.5 / 0.1)
    + 0.75 * math.log(3)
    + 0.25 * math.log(1 / 3)
) / 2


def test_refusals_are_learnt_and_the_rest_is_kept():
    scored = {
        "refusal": Scored(P, LABELS, ROWS),
        "retain": Scored(Q, LABELS, ROWS, base_logits_NV=P),
        "lookalike": Scored(P, LABELS, ROWS, base_logits_NV=P),
    }
    found = {
        name: term.item()
        for name, term in Refusal(refusal_weight=0.5, keep_weight=3.0).loss(scored).items()
    }
    assert found["refusal"] == pytest.approx(0.5 * (math.log(2) + math.log(4)) / 2, rel=1e-5)
    assert found["retain"] == pytest.approx(1.5 * KL, rel=1e-5)
    assert found["lookalike"] == pytest.approx(0, abs=1e-6)
    assert Refusal.edit_scale == 1.0


def test_a_step_has_more_ordinary_rows_than_harmful_and_reads_only_their_first_tokens():
    rows = Rows(toy.lm(), Data(), Refusal(kept=3, keep_tokens=5), 2).at(0)
    assert {role: len(found) for role, found in rows.items()} == {
        "refusal": 2,
        "retain": 6,
        "lookalike": 6,
    }
    assert all(len(row.answer_ids) == 5 for role in ("retain", "lookalike") for row in rows[role])
    assert all(len(row.answer_ids) > 5 for row in rows["refusal"])


def test_a_set_without_lookalikes_leaves_that_term_out(pairs):
    rows = Rows(toy.lm(), Data(*pairs, DataOptions(lookalike=False)), Refusal(), 2).at(0)
    assert set(rows) == {"refusal", "retain"}


@pytest.mark.parametrize(
    "options", [{"refusal_weight": 0}, {"keep_weight": -1}, {"kept": 0}, {"keep_tokens": 0}]
)
def test_options_out_of_range(options: dict):
    with pytest.raises(ConfigError, match="give"):
        Refusal(**options)
