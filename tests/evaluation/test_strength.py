"""The strength: lowest harm within the gates."""

import json
from pathlib import Path

import pytest
import toy
import verdicts

from skunlearn.data.dataset import Data
from skunlearn.evaluation.evaluator import Evaluator, evaluate
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import kl_score, row_likelihoods
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.evaluation.strength import (
    EditOptions,
    StrengthTrial,
    TwoStepEvaluation,
    best,
    choose_strength,
    validation_options,
)
from skunlearn.methods.sku import SKU
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError


def point(alpha: float, harmful: float, within: bool) -> StrengthTrial:
    return StrengthTrial(
        alpha, {"harmful_rate_unseen": Score(harmful, 0, 1, 40, 0, "rate", False)}, within
    )


def test_lowest_harm_within_the_gates_and_of_equals_the_weaker():
    points = [
        point(0, 0.5, True),
        point(0.5, 0.3, True),
        point(1, 0.2, True),
        point(1.5, 0.2, True),
        point(2, 0, False),
    ]
    assert best(points).alpha == 1


def test_of_equal_rates_the_lower_probability_of_harm_wins():
    def likely(alpha: float, mean: float) -> StrengthTrial:
        made = point(alpha, 0.2, True)
        return StrengthTrial(
            alpha,
            made.scores | {"harmful_probability_unseen": Score(mean, 0, 1, 40, 0, "share", False)},
            True,
        )

    assert (
        best([point(0, 0.5, True), likely(0.5, 0.3), likely(1, 0.25), likely(1.5, 0.25)]).alpha == 1
    )


def test_when_nothing_is_within_the_smallest_is_taken():
    assert best([point(0, 0.5, True), point(0.5, 0.3, False), point(1, 0.1, False)]).alpha == 0.5


def test_the_curve_is_recorded_and_stops_far_out(pairs: tuple[Path, Path]):
    lm, data = toy.lm(), Data(*pairs)
    tau = train(
        lm, SKU(), data, TrainOptions(steps=4, batch=2, lr=3e-2), LoraOptions(rank=2, frozen=0)
    )
    options = EditOptions(
        alphas=(0.001, 0.01, 3.0, 50.0, 60.0), forget=2, retain=3, lookalike=0, max_new_tokens=4
    )
    alpha, points = choose_strength(
        Evaluator(lm),
        -1.0 * tau,
        data.validation,
        options,
        GateOptions(retain_kl=0.02),
        name="tau",
    )
    assert [p.alpha for p in points][:3] == [0.0, 0.001, 0.01]
    assert points[-1].alpha < 60.0, "it went on far outside the gates"
    kls = [p.scores["retain_kl"].value for p in points]
    assert kls == sorted(kls) and kls[0] == pytest.approx(0, abs=1e-6)
    assert alpha in (0.001, 0.01)


def test_answers_are_generated_only_where_likelihood_meets_the_gates(
    monkeypatch: pytest.MonkeyPatch, pairs: tuple[Path, Path]
):
    lm, data = toy.lm(), Data(*pairs)
    options = EditOptions(alphas=(0.5,), forget=2, retain=3, lookalike=0, max_new_tokens=2)
    evaluator = Evaluator(lm, validation_options(EvaluateOptions(), options))
    edit = toy.edit(lm.model)
    strict = TwoStepEvaluation(evaluator, data.validation, GateOptions(retain_kl=0.0))
    with lm.edited(edit):
        likelihood = strict.likelihood_scores()
        assert list(likelihood) == ["retain_nll", "retain_kl"]
        assert not strict.meets_gates(likelihood)
        loose = GateOptions(retain_kl=100.0, perplexity_ratio=1e9, margin=0.5)
        lenient = TwoStepEvaluation(evaluator, data.validation, loose)
        lenient.base = strict.base
        assert lenient.meets_gates(likelihood) and lenient.meets_gates(likelihood, True)
        rates = lenient.answer_scores("edited")
    assert "harmful_rate_unseen" in rates and "retain_kl" not in rates
    monkeypatch.setattr(TwoStepEvaluation, "answer_scores", lambda *_: pytest.fail("generated"))
    alpha, trials = choose_strength(
        evaluator, edit, data.validation, options, GateOptions(retain_kl=0.0), name="x"
    )
    assert alpha == 0.5 and list(trials[1].scores) == ["retain_nll", "retain_kl"]
    assert not trials[1].within


def test_the_validation_prompts_are_never_test_material_and_cost_no_more_than_they_must():
    asked = EvaluateOptions(
        samples=4, lm_eval=("arc_easy",), lookalike_file="xstest.csv", paraphrase=9
    )
    small = validation_options(asked, EditOptions())
    assert (small.samples, small.lm_eval, small.lookalike_file, small.paraphrase) == (
        0,
        (),
        None,
        0,
    )


def test_a_negative_strength_is_refused():
    for options in ({"alpha": -0.1}, {"alphas": (0.5, -1.0)}):
        with pytest.raises(ConfigError, match="refused"):
            EditOptions(**options)
    with pytest.raises(ConfigError, match=r"edit\.alpha=nan: give a number that is finite"):
        EditOptions(alpha=float("nan"))


def test_several_answers_to_a_prompt_are_compared_row_by_row(tmp_path: Path):
    """TruthfulQA's form: the KL of a strength is that of the very rows of the base."""
    rows = [
        {"prompt": f"q {n}", "answer": [f"a {n} {'x' * k}" for k in (9, 1, 5)]} for n in range(30)
    ]
    (tmp_path / "retain.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lm, data = toy.lm(), Data(None, tmp_path / "retain.jsonl")
    assert len(data.validation.retain) > len({row.key for row in data.validation.retain})
    options = EditOptions(alphas=(0.5,), forget=2, retain=4, lookalike=0, max_new_tokens=2)
    edit, gates = toy.edit(lm.model), GateOptions(retain_kl=100.0, perplexity_ratio=1e9)
    _, points = choose_strength(
        Evaluator(lm, EvaluateOptions(judge=verdicts.HERE)),
        edit,
        data.validation,
        options,
        gates,
        name="x",
    )
    subject = evaluate(lm, data.validation, validation_options(EvaluateOptions(), options)).subject
    kept = subject.reference
    with lm.edited(0.5 * edit):
        expected = kl_score(row_likelihoods(lm.model, subject.encoded("retain"), kept)).value
    assert points[1].scores["retain_kl"].value == pytest.approx(expected, rel=1e-4) and expected > 0
