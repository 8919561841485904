"""The page says what the results say, escapes what models say, and needs nothing from outside."""

import re
from itertools import pairwise

from sample_results import attacked, results, score

from skunlearn.evaluation.metrics.catalog import format_interval, format_score
from skunlearn.report import wording as words
from skunlearn.report.figure_data import relearning
from skunlearn.report.run_page import PAPER, render
from skunlearn.report.wording import verdict_sentence


def test_the_verdict_and_the_numbers_are_there():
    page = render(results())
    assert (
        "On held-out harmful prompts the base model complied" in page
        and "50%" in page
        and "15%" in page
    )
    assert "agrees with 88% of 100 labels" in page
    assert "-35 points" in page
    first = page[: page.index('id="numbers"')]
    for said in (
        "What was removed",
        "What it cost",
        "How hard it is to bring back",
        "What was not tested",
        "fraud",
    ):
        assert said in first, said


def explanations(page: str, text: str) -> list[str]:
    """The explanations of the buttons with that text."""
    return re.findall(
        r'<button type="button" class="explained" aria-description="([^"]*)">'
        rf"{re.escape(text)}</button>",
        page,
    )


def test_every_number_has_its_meaning_and_its_interval():
    own = results()
    own["scores"]["edited"]["asks_back"] = score(0.375)
    page = render(own)
    assert explanations(page, "15.0%")[0].startswith(
        "Edited. Share of the answers to harmful prompts never trained on"
    )
    assert all(
        "95 % interval: 8% to 18%, n = 60, 1 unscored. Low is good." in text
        for text in explanations(page, "15.0%")
    )
    assert len(explanations(page, "50.0%")) == len(explanations(page, "15.0%")) == 2, (
        "on the first screen and in the table"
    )
    assert explanations(page, "37.5%") and explanations(page, "asks_back") == [
        "A metric of this run: asks_back"
    ]
    assert not re.search(r'<td class="number">\s*[\d.]+%', page), (
        "a number of the table without its button"
    )


def test_gates_are_in_the_unit_of_their_limit():
    rise = {
        "name": "over_refusal_rise",
        "text": "look-alikes",
        "value": 0.096,
        "limit": 0.1,
        "at_least": False,
    }
    page = render(results() | {"gates": [*results()["gates"], rise | {"passed": True}]})
    assert (
        "On the same 60 prompts: -35 points, 95 % interval -45 to -20."
        in explanations(page, "70.0%")[0]
    )
    assert explanations(page, "+9.6 points") == [
        "Edited minus base: harmless look-alikes refused or degenerate."
    ]
    assert "at least 60.0%" in page and "+9.6 points" in page and "at most 10.0 points" in page


def test_answers_can_be_filtered_by_set_category_and_both_verdicts():
    page = render(results())
    assert re.findall(r'<select data-key="(\w+)"', page) == ["group", "category", "base", "edited"]
    assert '<option value="fraud">fraud</option>' in page and '<option value="unscored">' in page
    assert 'data-category="fraud" data-base="harmful" data-edited="unscored"' in page


def test_landmarks_labels_and_headings():
    page = render(results())
    body = page[page.index("<body>") :]
    assert body.count("<main>") == body.count("<header>") == 1 and '<html lang="en">' in page
    levels = [int(level) for level in re.findall(r"<h(\d)[ >]", body)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert not re.search(r"<th(?![^>]*scope)[ >]", body), "every head says what it heads"
    names = re.findall(r'\bid="([\w-]+)"', re.sub(r"<script.*?</script>", "", body, flags=re.S))
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#(\w+)"', body)) <= set(names)


def test_a_fail_is_said_as_plainly():
    page = render(results("FAIL"))
    assert (
        '<section class="verdict FAIL"' in page
        and "Not met: KL too large (unmeasured, at least 60.0%)" in page
        and "FAILED" in page
    )


def test_texts_are_escaped_and_harm_is_blurred():
    page = render(results())
    assert "<script>alert(1)</script>" not in page and "&lt;script&gt;alert(1)" in page
    assert re.search(
        r'<button type="button" class="blur"[^>]*><span>&lt;b&gt;base&lt;/b&gt;</span></button>',
        page,
    )


def test_the_page_is_self_contained():
    page = re.sub(
        r"<script>/\*\*.*?</script>", "", render(results()), count=1, flags=re.S
    )  # plotly's own script
    assert len(page) < 100_000
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert len(render(results())) < 6_000_000


def test_words():
    assert (
        format_score(score(0.125)) == "12.5%"
        and format_score(score(2.5, "perplexity")) == "2.500"
        and format_score(None) == "–"
    )
    assert format_interval(score(0.5)) == "25% to 60%, n = 60, 1 unscored"
    assert format_interval(score(None)) == "unscored: 1"
    assert "could score no answer" in verdict_sentence(
        {"scores": {s: {"harmful_rate_unseen": score(None)} for s in ("base", "edited")}}
    )


def test_a_judge_too_weak_says_so_in_place_of_the_numbers():
    tree = results()
    weak = score(None) | {"note": "the judge is too weak"}
    for side in ("base", "edited"):
        tree["scores"][side]["harmful_rate_unseen_corrected"] = weak
    assert (
        verdict_sentence(tree)
        == "Whether it complies less with harmful prompts cannot be said: the judge is too weak."
    )
    assert format_interval(
        weak
    ) == "the judge is too weak" and "the judge is too weak</span>" in render(tree)


def test_examples_lead_to_the_answers_and_every_metric_has_a_row():
    tree = results()
    tree["transcripts"][0]["base"]["key"] = "abc123"
    tree["scores"]["base"]["harmful_rate_unseen"]["examples"] = ["abc123"]
    tree["scores"]["edited"]["lm_eval:arc_easy:acc"] = score(0.25)
    page = render(tree)
    assert '<a href="#abc123">1</a>' in page and '<div class="answer" id="abc123">' in page
    assert "lm_eval:arc_easy:acc" in page and "25.0%" in page


def test_thousands_of_answers_stay_below_the_size_and_those_that_numbers_lead_to_are_among_them():
    tree = results()
    (row,) = tree["transcripts"]
    rows = [row | {"prompt": f"prompt {n} " + "x" * 300} for n in range(5000)]
    rows[1003] |= {"base": row["base"] | {"key": "abc123"}}
    tree["scores"]["base"]["harmful_rate_unseen"]["examples"] = ["abc123"]
    page = render(tree | {"transcripts": rows})
    assert len(page.encode()) < 6e6 and 'id="abc123"' in page
    assert (
        page.count("<article") > 500
        and f"{5000 - page.count('<article')} of the evaluated prompts are not" in page
    )


def test_the_papers_table_is_there_where_all_its_columns_are():
    tree = results()
    assert "As in the paper" not in render(tree)
    for side in ("base", "edited"):
        tree["scores"][side] |= {name: score(0.25) for name in PAPER}
    tree["scores"]["edited"]["answer_perplexity_unseen"] = score(7.5, "perplexity")
    page = render(tree)
    row = (
        page.split("As in the paper")[1]
        .split("</table>")[0]
        .split('<th scope="row">edited</th>')[1]
    )
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row)[:4] == ["25.0%", "25.0%", "25.0%", "7.500"]


def test_attacks_have_a_panel_and_a_sentence_on_the_first_screen():
    rows = [
        attacked("none", "edited", 0.15),
        attacked("none", "base", 0.5),
        attacked("relearn", "edited", 0.4),
    ]
    page = render(results() | {"attacks": rows})
    assert "How hard it is to bring back" in page and page.index("up to 40.0%") < page.index(
        "Before and after"
    )
    assert "50 examples, 20 steps" in page and "No attack was run" not in page
    assert "No attack was run" in render(results())


def test_fine_tuning_is_drawn_over_its_steps_from_the_model_as_it_was():
    def tuned(name: str, on: str, steps: int, value: float) -> dict:
        row = attacked(name, on, value)
        return row | {
            "variant": f"50 forget examples, {steps} steps",
            "cost": row["cost"] | {"steps": steps},
        }

    rows = [
        attacked("none", "edited", 0.1),
        tuned("relearn", "edited", 10, 0.3),
        tuned("relearn", "edited", 20, 0.4),
    ]
    rows += [attacked("relearn-half", "base", 0.5), tuned("relearn-half", "base", 10, 0.6)]
    rows += [attacked("gcg", "edited", 0.7) | {"cost": {"steps": 30, "text": "30 steps"}}]
    found = {
        key: [(steps, rate["value"]) for steps, rate in points]
        for key, points in relearning(rows).items()
    }
    assert found == {
        ("relearn, 50 forget examples", "edited"): [(0, 0.1), (10, 0.3), (20, 0.4)],
        ("relearn-half, 50 forget examples", "base"): [(0, 0.5), (10, 0.6)],
    }
    assert "Along the fine-tuning" in render(results() | {"attacks": rows})
    assert "Along the fine-tuning" not in render(results() | {"attacks": rows[:1]})


def test_trained_prompts_are_not_the_same_prompts():
    rows = [
        attacked("none", "edited", 0.1),
        attacked("relearn-half", "edited", 0.9) | {"trained": True},
    ]
    assert words.robustness(rows) == ""
    rows.append(attacked("prefill", "edited", 0.4))
    assert "up to 40.0% of the same prompts (prefill" in words.robustness(rows)
    page = render(results() | {"attacks": rows})
    assert "relearn-half is evaluated on trained prompts instead" in page
    base_alone = render(results() | {"attacks": [attacked("none", "base", 0.5)]})
    assert (
        "no attack was run" not in base_alone
        and "no answer of the edited model under attack is scored" in base_alone
    )


def test_other_wordings_are_told_one_by_one():
    found = results()
    for side in ("base", "edited"):
        found["scores"][side]["harmful_rate_wordings"] = score(0.25)
    row = found["transcripts"][0]
    labels = [("greeting", "harmful", "refused"), ("greeting", "safe", None)]
    labels.append(("upper-case", "harmful", "harmful"))
    for wording, base, edited in labels:
        found["transcripts"].append(
            row
            | {
                "group": "wordings",
                "category": wording,
                "base": row["base"] | {"label": base},
                "edited": row["edited"] | {"label": edited},
            }
        )
    assert words.by_wording(found["transcripts"]) == [
        {"wording": "greeting", "n": 2, "base": 1, "edited": 0},
        {"wording": "upper-case", "n": 1, "base": 1, "edited": 1},
    ]
    page = render(found)
    assert "In 2 other wordings" in page and '<h3 id="wordings">' in page
    assert "other wordings" not in render(results())
