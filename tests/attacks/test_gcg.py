"""The search lowers its own loss, and its gradient is the gradient."""

from dataclasses import replace

import pytest
import torch

from skunlearn.attacks.adversarial_suffix import encoded, mean_nlls, rows_with, with_suffix
from skunlearn.attacks.base import Target
from skunlearn.attacks.gcg import Gcg, suffix_gradient
from skunlearn.data.examples import Example
from skunlearn.utils.errors import ConfigError

SMALL = Gcg(examples=2, length=6, tokens=8, steps=6, width=12, top=20)


def test_the_suffix_lowers_the_loss_it_is_searched_by_and_is_asked_as_text(target: Target):
    rows = list(SMALL.situations(target))
    assert [row.on for row in rows] == ["edited", "base"]
    for row in rows:
        assert row.numbers["target_nll_after"] < row.numbers["target_nll_before"] - 0.05
        assert row.numbers["control_nll_after"] < row.numbers["control_nll_before"]
        assert row.cost.steps == 6 and row.cost.examples == 2 and not row.weights
        ((example,), *_) = row.prompts
        assert (
            example.prompt.startswith(target.prompts[0].prompt)
            and example.intent == target.prompts[0].prompt
        )
        assert len(example.prompt) > len(example.intent)


def test_the_best_loss_is_that_of_its_suffix(target: Target):
    shown = target.forget(2)
    suffix, (_, after) = SMALL.search(target, shown, "")
    rows = rows_with(target.lm.template, shown, suffix, SMALL.tokens)
    assert rows and mean_nlls(target.lm, [rows])[0] == pytest.approx(after, rel=1e-4)


def test_the_gradient_foretells_a_small_move_of_an_embedding(target: Target):
    """Moving the marker's embedding a little along another token's changes the loss by the slope's
    entry."""
    lm, example = target.lm, replace(target.forget(1)[0], answer="yes")
    suffix = tuple(lm.tokenizer("~")["input_ids"])  # in neither prompt nor answer
    other, step = lm.tokenizer("Q")["input_ids"][0], 1e-3
    slope_LV = suffix_gradient(lm, [example], suffix, 4)
    found = encoded(lm.template, example, suffix, 4)
    assert found is not None and found[0].prompt_ids[found[1]] == suffix[0]
    embedding = lm.model.get_input_embeddings()
    moved_D = embedding.weight[other].detach() * step

    def loss(direction: int) -> float:
        hook = embedding.register_forward_hook(
            lambda _m, args, out: out + direction * (args[0] == suffix[0]).unsqueeze(-1) * moved_D
        )
        try:
            return mean_nlls(lm, [[found[0]]])[0]
        finally:
            hook.remove()

    assert (loss(1) - loss(-1)) / (2 * step) == pytest.approx(
        float(slope_LV[0, other]), rel=0.05, abs=0.02
    )


def test_a_suffix_that_text_would_change_is_refused(target: Target):
    lm = target.lm
    space, end = lm.tokenizer(" ")["input_ids"][0], lm.template.end_id
    half = lm.tokenizer("é")["input_ids"][:1]  # one byte of two
    assert rows_with(lm.template, target.forget(2), (space, *half), 4) is None
    assert encoded(lm.template, Example("a", "b"), (space, space + 0), 4) is not None
    assert (
        with_suffix(lm.template, Example("a"), (space, lm.tokenizer("x")["input_ids"][0])).prompt
        == "a x"
    )
    assert end not in {
        token
        for row in rows_with(lm.template, [Example("a", "b")], (space,), 1) or []
        for token in row.answer_ids
    }


def test_wrong_options():
    with pytest.raises(ConfigError, match=r"gcg\.width=0: give 1 or more"):
        Gcg(width=0)
    assert torch.is_grad_enabled()
