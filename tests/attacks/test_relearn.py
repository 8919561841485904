"""Relearning raises the likelihood of what is shown, goes on from point to point, and leaves the
base as it was."""

import pytest
import torch

from skunlearn.attacks.base import Target
from skunlearn.attacks.relearn import Curve, Relearn, RelearnBenign, RelearnHalf
from skunlearn.evaluation.metrics.likelihood import nll_score, row_likelihoods
from skunlearn.task_vectors.apply import DEPTH
from skunlearn.utils.errors import ConfigError

CURVE = Curve(steps=(3, 6), batch=3, lr=1e-2)


def test_relearning_raises_the_likelihood_and_restores_the_weights_bit_for_bit(target: Target):
    model = target.lm.model
    before = {name: p.clone() for name, p in model.named_parameters()}
    shown = target.forget(6)
    rows = [target.lm.template.encode(example, 200) for example in shown]

    def nll() -> float:
        return nll_score(row_likelihoods(model, rows)).value or 0.0

    with target.model("edited"):
        start = nll()
    found = []
    for situation in Relearn(examples=(6,), curve=CURVE).situations(target):
        found.append((situation.on, situation.cost.steps, nll()))
        assert getattr(model, DEPTH) > 0 and situation.cost.examples == 6
        assert situation.weights and situation.prompts == target.plain
        hidden = situation.numbers
        assert hidden["hidden_nll_before"] > hidden["hidden_nll_after"], "answers of the same kind"
    assert [(on, steps) for on, steps, _ in found] == [
        ("edited", 3),
        ("edited", 6),
        ("base", 3),
        ("base", 6),
    ]
    assert start > found[0][2] > found[1][2], "each point goes on from the one before"
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert getattr(model, DEPTH) == 0 and torch.is_grad_enabled()
    assert not any(module._forward_hooks for module in model.modules())


def test_what_is_fine_tuned_is_the_edited_model(target: Target):
    """Training begins where the edit is, not at the base below it."""
    from skunlearn.training.lora import LoraOptions
    from skunlearn.training.trainable_model import TrainableModel

    ids = torch.arange(8, 20)[None]
    logits = []
    for on in ("edited", "base"):
        with target.model(on):
            logits.append(target.lm.model(input_ids=ids).logits)
            trainable = TrainableModel(target.lm.model, LoraOptions(rank=2, frozen=0), 0)
            fresh = trainable.model(input_ids=ids).logits
            trainable.whole.unload()
        torch.testing.assert_close(fresh, logits[-1])
    assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_a_stopped_attack_restores_too(target: Target):
    before = {name: p.clone() for name, p in target.lm.model.named_parameters()}
    situations = Relearn(examples=(4,), curve=CURVE).situations(target)
    next(situations)
    situations.close()
    assert getattr(target.lm.model, DEPTH) == 0
    assert all(torch.equal(before[name], p) for name, p in target.lm.model.named_parameters())


def test_half_is_measured_on_the_other_half(target: Target, monkeypatch: pytest.MonkeyPatch):
    given = []
    import skunlearn.attacks.relearn as module

    real = module.train
    monkeypatch.setattr(
        module,
        "train",
        lambda lm, method, data, *a, **k: given.append(data) or real(lm, method, data, *a, **k),
    )
    rows = list(RelearnHalf(curve=Curve((2,), 2), on=("edited",)).situations(target))
    asked = {example.key for situation in rows for (example,) in situation.prompts}
    shown = {example.key for example in given[0].train.forget}
    everything = {example.key for example in target.data.train.forget}
    assert asked and shown and not asked & shown and asked | shown <= everything
    assert abs(len(shown) - len(everything) / 2) <= 1
    assert [row.cost.steps for row in rows] == [0, 2]
    assert target.hidden_nll(target.data.train.forget, "x") == {}


def test_benign_relearning_shows_ordinary_rows_only(
    target: Target, monkeypatch: pytest.MonkeyPatch
):
    given = []
    import skunlearn.attacks.relearn as module

    real = module.train
    monkeypatch.setattr(
        module,
        "train",
        lambda lm, method, data, *a, **k: given.append(data) or real(lm, method, data, *a, **k),
    )
    (row,) = RelearnBenign(examples=5, curve=Curve((2,), 2)).situations(target)
    assert given[0].train.forget == target.data.train.retain[:5] and row.prompts == target.plain
    assert target.data.train.forget, "the data itself stays"


def test_a_curve_must_rise():
    for steps in ((), (0,), (5, 5), (9, 3)):
        with pytest.raises(ConfigError, match=r"curve\.steps"):
            Curve(steps=steps)
