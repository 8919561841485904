"""The vectors lower their own loss, stand only where their markers stand, and leave the model."""

from dataclasses import replace

import pytest
import torch

from skunlearn.attacks.adversarial_suffix import rows_with
from skunlearn.attacks.base import Target
from skunlearn.attacks.soft_prompt import SoftPrompt, free_tokens, softened
from skunlearn.utils.errors import ConfigError, ModelError

SMALL = SoftPrompt(examples=4, length=3, tokens=8, steps=12, batch=2, lr=5e-2)


def test_the_vectors_lower_the_loss_they_are_trained_on(target: Target):
    before = {name: p.clone() for name, p in target.lm.model.named_parameters()}
    rows = list(SMALL.situations(target))
    for row in rows:
        assert row.numbers["target_nll_after"] < row.numbers["target_nll_before"] - 0.1
        assert row.numbers["control_nll_after"] < row.numbers["control_nll_before"]
        assert row.weights
    assert [row.on for row in rows] == ["edited", "base"]
    assert all(torch.equal(before[name], p) for name, p in target.lm.model.named_parameters())
    assert not target.lm.model.get_input_embeddings()._forward_hooks


def test_the_vectors_stand_where_the_markers_stand_and_nowhere_else(target: Target):
    embedding = target.lm.model.get_input_embeddings()
    ids_1T, vectors_KD = torch.tensor([[7, 8, 9, 8]]), torch.randn(2, 32)
    plain = embedding(ids_1T)
    with softened(target.lm.model, (8, 200), vectors_KD):
        found = embedding(ids_1T)
    assert torch.allclose(found[0, 1], vectors_KD[0], atol=1e-6) and torch.allclose(
        found[0, 3], vectors_KD[0], atol=1e-6
    )
    assert torch.equal(found[0, [0, 2]], plain[0, [0, 2]])


def test_free_tokens_are_used_by_no_row_and_survive_as_text(target: Target):
    template, rows = target.lm.template, [*target.forget(5), *target.prompts]
    markers = free_tokens(template, rows, 4)
    used = {t for e in rows for t in (*template.prompt_ids(e), *template.answer_ids(e.answer))}
    assert len(set(markers)) == 4 and not used & set(markers)
    assert rows_with(template, rows, markers, 2) is not None
    with pytest.raises(ModelError, match="no 400 free tokens: lower --set"):
        free_tokens(template, rows, 400)


def test_wrong_options():
    with pytest.raises(ConfigError, match=r"soft-prompt\.steps=0: give 1 or more"):
        replace(SMALL, steps=0)
