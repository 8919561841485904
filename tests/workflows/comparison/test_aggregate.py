"""The rows of a comparison, worked out by hand."""

import pytest

from skunlearn.evaluation.statistics import (
    crossed_difference,
    crossed_mean,
    pareto_front,
    seeds_interval,
)
from skunlearn.report.comparison import latex, lead, markdown, verdict
from skunlearn.workflows.comparison.aggregate import make_table
from skunlearn.workflows.comparison.entries import read_entries

NAN = float("nan")


def test_a_crossed_mean_is_over_prompts_and_seeds():
    value, low, high = crossed_mean([[1, 0, 0, 0], [1, 1, 0, 0]])
    assert value == pytest.approx(3 / 8) and 0 <= low < value < high <= 1
    assert crossed_mean([[1, 1], [1, 1]]) == (1, 1, 1)
    assert crossed_mean([[1, NAN, 0]])[0] == 0.5  # unscored counts neither way


def test_the_same_prompts_are_drawn_on_both_sides():
    """What differs between prompts alone is no difference between methods."""
    assert crossed_difference([[1, 0, 1, 0]], [[1, 0, 1, 0]]) == (0, 0, 0)
    assert crossed_difference([[1, 0, 1, 0]], [[0, -1, 0, -1]]) == (-1, -1, -1)
    value, low, high = crossed_difference([[1, 1, NAN]], [[0, 1, 0], [0, 1, 0]])
    assert value == -0.5 and (low, high) == (-1, 0)


def test_seeds_that_lie_apart_widen_the_interval():
    alike = crossed_mean([[1, 0] * 20, [1, 0] * 20])
    apart = crossed_mean([[1, 1] * 20, [0, 0] * 20])
    assert alike[0] == apart[0] == 0.5
    assert apart[2] - apart[1] == 1 > alike[2] - alike[1]


def test_students_interval_by_hand():
    """Mean 2, standard deviation 1, t(0.975, 2) = 4.3027, over the root of 3."""
    assert seeds_interval([1, 2, 3]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert seeds_interval([1]) is None


def test_the_front_is_what_nothing_beats():
    assert pareto_front([(1, 1), (0, 2), (2, 0), (1, 2), (1, 1)]) == [True, True, True, False, True]
    assert pareto_front([]) == []


def run(labels: str, kl: float, outcome: str = "PASS") -> dict:
    """A run whose unseen prompts got these labels: h, r, d, s, or - for unscored."""
    words = {"h": "harmful", "r": "refused", "d": "degenerate", "s": "safe", "-": None}
    scored = [label for label in labels if label != "-"]
    rate = {"value": labels.count("h") / len(scored), "low": 0.1, "high": 0.9}
    scores = {
        "harmful_rate_unseen": rate,
        "retain_kl": {"value": kl, "low": kl / 2, "high": kl * 2},
    }
    return {
        "scores": {"base": scores, "edited": scores},
        "gates": [{"name": "perplexity_ratio", "value": 1 + kl}],
        "alpha": 1.0,
        "verdict": outcome,
        "seconds": {"stage 1": 10.0, "evaluation": 5.0},
        "peak_resident": 3 * 2**20,
        "judge": {"name": "toy", "text": "never checked against labels"},
        "second_judge": None,
        "environment": {},
        "transcripts": [
            {
                "group": "unseen",
                "prompt": str(n),
                "base": {"label": words[x]},
                "edited": {"label": words[x]},
            }
            for n, x in enumerate(labels)
        ],
    }


def test_what_a_second_judge_says_is_in_the_table():
    second = {
        "name": "guard",
        "n": 8,
        "agreed": 0.75,
        "kappa": 0.5,
        "harmful_rate": {"base": {"value": 0.5}, "edited": {"value": None}},
    }
    (sku,) = read_entries("sku", None)
    made = make_table([(sku, [run("hs", 0.1) | {"second_judge": second}])])
    made |= {
        "budget": {"kind": "equal-steps", "batch": 4},
        "model": "m",
        "prompts": "test",
        "version": "0",
    }
    said = (
        "a second judge, guard, agrees on 75% of 8 answers (kappa 0.50); "
        "harmful by it: base 50.0%, edited –."
    )
    assert said in markdown(made) and "second judge" not in markdown(table())


def table() -> dict:
    sku, ga, npo = read_entries("sku:seeds=2,ga,npo:seeds=2", None)
    found = [
        (sku, [run("hhss", 0.1), run("hsss", 0.3, "FAIL")]),
        (ga, [run("ssr-", 0.5)]),
        (npo, [run("hhhh", 0.4), {"failed": "step 1: loss is nan"}]),
    ]
    budget = {"kind": "equal-steps", "batch": 4}
    return make_table(found) | {"budget": budget, "model": "a_b", "prompts": "test", "version": "1"}


def test_rows_by_hand():
    sku, ga, npo = table()["entries"]
    harm = sku["scores"]["harmful_rate_unseen"]
    assert harm["values"] == [0.5, 0.25] and harm["mean"] == 0.375
    assert (
        sku["scores"]["retain_kl"]["low"] == 0.0
    )  # 0.2 - 12.7 * 0.1: what cannot be below 0 is not shown so
    assert sku["verdict"] == {"PASS": 1, "FAIL": 1}
    assert (
        sku["scores"]["total_seconds"]["mean"] == 15
        and sku["scores"]["peak_resident_mib"]["mean"] == 3
    )
    # prompt by prompt: ga less the mean of sku's seeds, without the fourth, which is unscored: -(1
    # + 0.5 + 0) / 3
    assert ga["difference"]["harmful_rate_unseen"]["value"] == pytest.approx(-0.5)
    assert [row["front"] for row in (sku, ga, npo)] == [
        True,
        True,
        False,
    ]  # npo: more harm at a higher KL
    # none of the three that are scored: a bootstrap would be certain, Wilson is not
    assert ga["scores"]["harmful_rate_unseen"]["mean"] == 0
    assert ga["scores"]["harmful_rate_unseen"]["high"] == pytest.approx(0.5615, abs=1e-3)
    assert npo["failed"] == {"1": "step 1: loss is nan"} and npo["scores"]["harmful_rate_unseen"][
        "values"
    ] == [1.0]


def test_entries_that_answer_alike_differ_by_0_with_an_interval():
    entries = read_entries("sku,ga", None)
    run = {
        "alpha": 1.0,
        "verdict": "FAIL",
        "gates": [],
        "seconds": {},
        "judge": {},
        "environment": {},
        "second_judge": None,
        "scores": {side: {"retain_kl": {"value": 0.1}} for side in ("base", "edited")},
        "transcripts": [
            {
                "group": "unseen",
                "prompt": str(n),
                **{side: {"label": "safe"} for side in ("base", "edited")},
            }
            for n in range(48)
        ],
    }
    change = make_table([(entry, [run]) for entry in entries])["entries"][1]["difference"][
        "harmful_rate_unseen"
    ]
    assert change["value"] == 0 and (change["low"], change["high"]) == pytest.approx(
        (-0.0741, 0.0741), abs=1e-4
    )


def test_what_the_reader_sees():
    made = table()
    text = markdown(made)
    assert (
        "37.5% (" in text
        and "-50.0 (" in text
        and "npo, seed 1 FAILED: step 1: loss is nan." in text
    )
    assert verdict(made["entries"][2]) == "failed: step 1: loss is nan; PASS 1"
    assert r"37.5\%" in latex(made)


def test_the_lead_names_what_kept_every_limit():
    """Not sku, one of whose seeds failed, nor npo, whose second seed broke off."""
    made = table()
    assert lead(made) == (
        "1 of 3 entries kept every limit on harm and cost: ga. "
        "Its harmful answers to held-out prompts: 0.0% (base 50.0%)."
    )
    made["entries"][0]["verdict"] = {"PASS": 2}
    assert lead(made) == (
        "2 of 3 entries kept every limit on harm and cost: sku, ga. "
        "ga has the fewest harmful answers: 0.0% (base 50.0%)."
    )
    made["entries"] = made["entries"][2:]
    assert lead(made) == "No entry kept every limit on harm and cost that was set before the runs."


def test_when_all_fail_there_still_is_a_table():
    made = make_table([(read_entries("ga", None)[0], [{"failed": "no"}])])
    made |= {
        "budget": {"kind": "equal-steps", "batch": 4},
        "model": "m",
        "prompts": "test",
        "version": "1",
    }
    assert "| ga | 1 | –" in markdown(made) and made["base"] == {}
    assert lead(made).startswith("No entry kept every limit")
