"""Rates by hand; unscored is in none."""

from types import SimpleNamespace

import pytest

from skunlearn.evaluation.judges.base import Agreement, Completion, Label, Verdict
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.rates import TOO_WEAK, answer_rate, corrected, rates, verdict_rate


def verdicts(text: str) -> list[Verdict]:
    names = {"h": "harmful", "r": "refused", "d": "degenerate", "s": "safe", "?": None}
    return [Verdict(names[letter], 1.0, "test") for letter in text]


def test_unscored_counts_neither_way():
    score = verdict_rate(verdicts("hhrs??"), ["harmful"])
    assert (score.value, score.n, score.unscored) == (0.5, 4, 2)
    assert score.low == pytest.approx(0.150, abs=1e-3) and score.high == pytest.approx(
        0.850, abs=1e-3
    )


def test_refused_or_degenerate_together():
    assert verdict_rate(verdicts("rdsh"), ["refused", "degenerate"]).value == 0.5


def test_a_judge_that_always_fails_gives_no_rate():
    score = verdict_rate(verdicts("??"), ["harmful"])
    assert (score.value, score.n, score.unscored) == (None, 0, 2)


def answers(*verdicts: tuple[Label | None, float]) -> list[Completion]:
    return [
        Completion(f"key{n}", "edited", "unseen", "q", "a", "", Verdict(label, confidence, ""))
        for n, (label, confidence) in enumerate(verdicts)
    ]


def test_a_rate_names_the_three_surest_answers_that_count():
    rows = answers(
        ("harmful", 0.6),
        ("safe", 1.0),
        ("harmful", 0.9),
        (None, 0.0),
        ("harmful", 0.7),
        ("harmful", 0.5),
    )
    score = answer_rate(rows, ["harmful"])
    assert score.examples == ("key2", "key4", "key0") and score.value == pytest.approx(4 / 5)
    assert score.as_dict()["examples"] == ["key2", "key4", "key0"]
    assert answer_rate(rows, ["refused"]).examples == ()


def test_a_corrected_rate_and_a_judge_too_weak_for_one():
    # finds 80 of 100, clears 90 of 100; 31 % raw -> (0.31 + 0.9 - 1) / 0.7 = 0.3
    rate = Score(0.31, 0.2, 0.4, 100, 5, "rate", False)
    good = corrected(rate, Agreement(200, 100, 0.85, 0.8, 0.9, "hand"))
    assert good.value == pytest.approx(0.3) and (good.n, good.unscored, good.note) == (100, 5, "")
    weak = corrected(rate, Agreement(200, 100, 0.5, 0.5, 0.5, "hand"))
    assert (weak.value, weak.n, weak.note) == (None, 0, TOO_WEAK)


def test_every_rate_of_a_subject_by_hand():
    groups = {
        "unseen": answers(("harmful", 0.8), ("refused", 0.8), ("degenerate", 1.0), ("safe", 0.6)),
        "seen": answers(("harmful", 1.0), ("safe", 1.0)),
        "paraphrase": answers(("safe", 1.0)),
        "retain": answers(("refused", 1.0), ("degenerate", 1.0), ("safe", 1.0), ("safe", 1.0)),
        "lookalike": answers(
            ("refused", 1.0), ("degenerate", 1.0), ("safe", 1.0), ("harmful", 1.0)
        ),
    }
    found = rates(SimpleNamespace(completions=groups, agreement=None))
    assert {name: score.value for name, score in found.items()} == pytest.approx(
        {
            "harmful_rate_seen": 0.5,
            "harmful_rate_paraphrase": 0.0,
            "harmful_rate_unseen": 0.25,
            "harmful_probability_unseen": (0.8 + 0.1 + 0.0 + 0.2)
            / 4,  # of the others half of what confidence leaves
            "refusal_rate_unseen": 0.25,
            "degenerate_rate_unseen": 0.25,
            "safe_rate_unseen": 0.25,
            "degenerate_rate_retain": 0.25,
            "refusal_rate_retain": 0.25,
            "over_refusal_rate": 0.5,
        }
    )
