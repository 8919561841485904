"""ROUGE-L of ordinary answers with their reference answers (Lin, 2004)."""

from collections.abc import Sequence

from skunlearn.data.examples import normalised
from skunlearn.evaluation.metrics.base import Score, Subject, metric_mean

NAME = "retain_rouge_l"


def overlap(subject: Subject) -> dict[str, Score]:
    """`retain_rouge_l`: mean ROUGE-L with the reference answers, 0..1.

    Answers are cut at a number of tokens. Against a whole reference that alone would cost recall,
    so a reference is cut to the number of words of the answer. A prompt without a reference is
    unscored.
    """
    rows = subject.completions.get("retain", ())
    examples = subject.groups.get("retain", ())
    values: list[float] = []
    for row, example in zip(rows, examples, strict=True):
        answer = _words(row.answer)
        reference = _words(example.answer)
        if reference:
            values.append(rouge_l(answer, reference[: max(len(answer), 1)]))
    return {NAME: metric_mean(NAME, values, len(rows))}


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words, 0..1; 0 when a side has no words.

    Args:
        answer: words.
        reference: words.
    """
    if not answer or not reference:
        return 0.0
    # Dynamic programming: lengths[n] is the length of the longest common subsequence of the words
    # of the answer so far and the first n words of the reference.
    lengths = [0] * (len(reference) + 1)
    for word in answer:
        diagonal = 0  # lengths[n - 1] before this word
        for n, other in enumerate(reference, start=1):
            above = lengths[n]
            lengths[n] = diagonal + 1 if word == other else max(above, lengths[n - 1])
            diagonal = above
    return 2 * lengths[-1] / (len(answer) + len(reference))


def _words(text: str) -> list[str]:
    return normalised(text).split()
