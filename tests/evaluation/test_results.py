"""Base against edited model, as JSON."""

import json
from dataclasses import replace

import pytest
import toy
import verdicts

from skunlearn.data.examples import Example, Split
from skunlearn.evaluation.evaluator import Evaluation, Evaluator
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.judges.base import Label, Verdict
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.evaluation.results import (
    PairedChange,
    SecondOpinion,
    compare_evaluations,
    paired_change,
    second_opinion,
)
from skunlearn.utils.progress import Progress

SPLIT = Split(
    forget=tuple(Example(f"harm {n}", category="a") for n in range(4)),
    retain=tuple(Example(f"ask {n}", f"answer {n}") for n in range(3)),
)
OPTIONS = EvaluateOptions(
    wordings=0, forget=4, retain=3, max_new_tokens=3, judge=verdicts.HERE, second_judge="offline"
)


@pytest.fixture(scope="module")
def evaluations() -> tuple[Evaluation, Evaluation]:
    lm = toy.lm()
    evaluator = Evaluator(lm, replace(OPTIONS, metrics=("rates", "likelihood")))
    base = evaluator.evaluate(SPLIT)
    with lm.edited(toy.edit(lm.model)):
        return base, evaluator.evaluate(SPLIT, base, "edited")


def labelled(evaluation: Evaluation, labels: list[Label | None]) -> Evaluation:
    """The evaluation with these verdicts on the held-out harmful prompts."""
    rows = [
        replace(row, verdict=Verdict(label, 1.0, ""))
        for row, label in zip(evaluation.completions["unseen"], labels, strict=True)
    ]
    subject = replace(evaluation.subject, completions={"unseen": rows})
    return Evaluation(evaluation.scores, subject)


def test_the_objects_of_results_json_and_their_order(evaluations: tuple[Evaluation, Evaluation]):
    base, edited = evaluations
    found = compare_evaluations(base, edited, GateOptions(), OPTIONS, Progress())
    assert list(found) == [
        "verdict",
        "gates",
        "scores",
        "changes",
        "judge",
        "second_judge",
        "transcripts",
    ]
    assert list(found["judge"]) == ["name", "agreement", "text", "limits"]
    assert list(found["second_judge"]) == ["name", "n", "agreed", "kappa", "harmful_rate"]
    assert list(found["second_judge"]["harmful_rate"]) == ["base", "edited"]
    assert {tuple(change) for change in found["changes"].values()} == {
        ("value", "low", "high", "n")
    }
    first = found["transcripts"][0]
    assert list(first) == ["group", "category", "prompt", "base", "edited"]
    assert list(first["base"]) == ["key", "answer", "label", "confidence", "evidence", "harmful"]
    assert (first["group"], first["category"], first["prompt"]) == ("unseen", "a", "harm 0")
    assert len(found["transcripts"]) == 7
    json.dumps(found, allow_nan=False)


def test_without_known_harmful_prompts_there_is_no_verdict(
    evaluations: tuple[Evaluation, Evaluation],
):
    sides = []
    for evaluation in evaluations:
        completions = {"prompts": evaluation.completions["retain"]}
        subject = replace(evaluation.subject, completions=completions)
        sides.append(Evaluation(evaluation.scores, subject))
    options = replace(OPTIONS, second_judge=None)
    found = compare_evaluations(*sides, GateOptions(), options, Progress())
    assert (found["verdict"], found["gates"], found["second_judge"]) == (None, [], None)


def test_a_paired_change_by_hand(evaluations: tuple[Evaluation, Evaluation]):
    base = labelled(evaluations[0], ["harmful", "harmful", "harmful", None])
    edited = labelled(evaluations[1], ["harmful", "safe", "refused", "safe"])
    change = paired_change(base, edited, "unseen", ["harmful"])
    assert (change.value, change.n) == (pytest.approx(-2 / 3), 3)
    assert change.low <= change.value <= change.high
    nothing = labelled(evaluations[1], [None] * 4)
    assert paired_change(base, nothing, "unseen", ["harmful"]) == PairedChange(None, None, None, 0)


def test_a_second_opinion_by_hand(
    evaluations: tuple[Evaluation, Evaluation], monkeypatch: pytest.MonkeyPatch
):
    class Second:
        name = "second"

        def judge(self, prompts: list[str], answers: list[str]) -> list[Verdict]:
            return [Verdict(label, 1.0, "") for label in ("harmful", "safe", None, "safe")]

    monkeypatch.setattr("skunlearn.evaluation.results.make_judge", lambda _: Second())
    base = labelled(evaluations[0], ["harmful", "harmful", "safe", "safe"])
    edited = labelled(evaluations[1], ["harmful", "safe", "safe", None])
    found = second_opinion("second", base, edited, Progress())
    # Scored by both: base harmful/harmful, harmful/safe, safe/safe; edited harmful/harmful,
    # safe/safe. Agreed 4 / 5; by chance (3 * 2 + 2 * 3) / 25.
    assert isinstance(found, SecondOpinion) and (found.n, found.agreed) == (5, 4 / 5)
    assert found.kappa == pytest.approx((0.8 - 0.48) / (1 - 0.48))
    assert found.harmful_rate["edited"].value == pytest.approx(1 / 3)
