"""The sentences around the table of a comparison: the outcome, the verdicts, the notes."""

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN
from skunlearn.utils.files import JsonDict

INTERVALS = (
    "Means over seeds with 95 % intervals. Rates: bootstrap over prompts and seeds, no narrower "
    "than Wilson's interval over the prompts; changes: bootstrap over prompts and seeds. The other "
    "columns: Student's t over seeds; with one seed the run's own interval over rows, where it has "
    "one."
)
FRONT = (
    "* no other entry has less harm at no more KL, or less KL at no more harm. The base's answers, "
    "which all entries share, are not counted in any seconds."
)


def lead(table: JsonDict) -> str:
    """Return the outcome in one or two sentences."""
    entries = table["entries"]
    good = []
    for row in entries:
        if set(row["verdict"]) == {"PASS"} and not row["failed"]:
            good.append(row)
    if not good:
        return "No entry kept every limit on harm and cost that was set before the runs."

    best = min(good, key=lambda row: harmful_rate(row["scores"]) or 0.0)
    names = ", ".join(row["name"] for row in good)
    if len(good) > 1:
        result = f"{best['name']} has the fewest harmful answers"
    else:
        result = "Its harmful answers to held-out prompts"
    before = harmful_rate(table["base"])
    against = "" if before is None else f" (base {before:.1%})"
    return (
        f"{len(good)} of {len(entries)} entries kept every limit on harm and cost: {names}. "
        f"{result}: {harmful_rate(best['scores']):.1%}{against}."
    )


def harmful_rate(scores: JsonDict | None) -> float | None:
    """Return the mean harmful rate on held-out prompts; None when nothing was measured."""
    return scores[HARMFUL_UNSEEN]["mean"] if scores else None


def verdict(row: JsonDict) -> str:
    """Return the verdicts of an entry's seeds, how many have each; failed seeds come first."""
    texts = []
    for why in dict.fromkeys(row["failed"].values()):  # each reason once
        texts.append(f"failed: {why}")
    for text, count in row["verdict"].items():
        texts.append(f"{text} {count}" if row["seeds"] > 1 else text)
    return "; ".join(texts)


def strengths(row: JsonDict) -> str:
    """Return the strengths of an entry's seeds."""
    return ", ".join(f"{alpha:g}" for alpha in row["alpha"]) or "none"


def notes(table: JsonDict) -> list[str]:
    """Return what a reader of the table has to know, one line each."""
    entries = table["entries"]
    lines = [INTERVALS, *_budget_notes(table)]
    for row in entries:
        lines.append(
            f"{row['name']}: {', '.join([*row['settings'], f'strength {strengths(row)}'])}."
        )
    for row in entries:
        lines += _second_judge_notes(row)
    for row in entries:
        for number, why in row["failed"].items():
            lines.append(f"{row['name']}, seed {number} FAILED: {why}.")
    lines.append(
        f"Model {table['model']}, {table['prompts']} prompts, skunlearn {table['version']}; {FRONT}"
    )
    judge = table["judge"]
    if judge:
        lines.append(f"Judge: {judge['name']}, {judge['text']}.")
    return lines


def _budget_notes(table: JsonDict) -> list[str]:
    """Return how long every entry was trained, and how that was set."""
    budget = table["budget"]
    steps = []
    for row in table["entries"]:
        each_vector = "+".join(map(str, row["steps"].values()))
        steps.append(f"{row['name']} {each_vector}")
    lines = [
        f"Budget: {budget['kind']}, batch {budget['batch']}; optimiser steps of each vector: "
        f"{'; '.join(steps)}."
    ]
    if "seconds" in budget:
        timings = []
        for name, timed in budget["entries"].items():
            timings.append(f"{name} {_timing(timed)}")
        lines.append(
            f"Each may train for {budget['seconds']:.1f} s; measured seconds per step: "
            f"{'; '.join(timings)}."
        )
    return lines


def _timing(timed: JsonDict) -> str:
    """Return the measured seconds per step of each vector, or why there are none."""
    if "failed" in timed:
        return f"none ({timed['failed']})"
    return " + ".join(f"{seconds:.2f}" for seconds in timed["seconds_a_step"].values())


def _second_judge_notes(row: JsonDict) -> list[str]:
    """Return what a second judge says of an entry's answers, one line a run."""
    lines = []
    for number, found in enumerate(row["second_judge"], start=1):
        rates = []
        for side, rate in found["harmful_rate"].items():
            value = "–" if rate["value"] is None else f"{rate['value']:.1%}"
            rates.append(f"{side} {value}")
        agreed = "–" if found["agreed"] is None else f"{found['agreed']:.0%}"
        kappa = "" if found["kappa"] is None else f" (kappa {found['kappa']:.2f})"
        lines.append(
            f"{row['name']}, run {number}: a second judge, {found['name']}, agrees on {agreed} of "
            f"{found['n']} answers{kappa}; harmful by it: {', '.join(rates)}."
        )
    return lines
