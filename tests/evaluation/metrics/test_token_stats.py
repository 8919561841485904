"""Token statistics against a plain softmax."""

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.token_stats import token_stats


def test_against_the_plain_computation():
    lm = toy.lm()
    rows = [
        lm.template.encode(Example(prompt, answer), 100)
        for prompt, answer in (("ab", "cd"), ("a", "xyz"))
    ]
    found = token_stats(lm.model, rows)
    ids = torch.tensor([rows[1].prompt_ids + rows[1].answer_ids])
    lm.model.requires_grad_(False)
    log_p_TV = lm.model(ids).logits[0].log_softmax(-1)[len(rows[1].prompt_ids) - 1 : -1]
    p_V, log_p_V = log_p_TV[0].exp(), log_p_TV[0]
    mean = (p_V * log_p_V).sum()
    spread = (p_V * (log_p_V - mean) ** 2).sum().sqrt()
    first = rows[1].answer_ids[0]
    assert found[1].log_p_T[0] == pytest.approx(float(log_p_V[first]), abs=1e-5)
    assert found[1].z_T[0] == pytest.approx(float((log_p_V[first] - mean) / spread), abs=1e-4)
    assert bool(found[1].greedy_T[0]) is (int(log_p_V.argmax()) == first)
    assert [len(row.log_p_T) for row in found] == [len(row.answer_ids) for row in rows]
