"""ROUGE-L of ordinary answers with their reference answers (Lin, 2004): the longest common
subsequence of words."""

from collections.abc import Sequence

from skunlearn.data.examples import normalised
from skunlearn.evaluation.metrics.base import Score, Subject, mean_score


def overlap(subject: Subject) -> dict[str, Score]:
    """`retain_rouge_l`: mean F1 with the reference answers, cut to the length of the model's own,
    0..1.

    Answers are cut at a number of tokens; against a whole reference that cut alone would cost
    recall.
    """
    pairs = zip(
        subject.completions.get("retain", ()), subject.groups.get("retain", ()), strict=True
    )
    values = [
        rouge_l(mine, theirs[: max(len(mine), 1)])
        for mine, theirs in ((_words(row.answer), _words(example.answer)) for row, example in pairs)
        if theirs
    ]
    return {
        "retain_rouge_l": mean_score(
            values, len(subject.completions.get("retain", ())), "share", True
        )
    }


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence, 0..1."""
    row = [0] * (len(reference) + 1)
    for word in answer:
        above_left = 0
        for at, other in enumerate(reference, start=1):
            above = row[at]
            row[at] = above_left + 1 if word == other else max(above, row[at - 1])
            above_left = above
    return 2 * row[-1] / (len(answer) + len(reference)) if answer and reference else 0.0


def _words(text: str) -> list[str]:
    return normalised(text).split()
