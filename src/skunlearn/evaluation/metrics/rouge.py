"""ROUGE-L of ordinary answers with their reference answers (Lin, 2004)."""

import unicodedata
from collections.abc import Sequence

from skunlearn.data.examples import normalised
from skunlearn.evaluation.metrics.base import Score, Subject, metric_mean

NAME = "retain_rouge_l"
# How the names of characters begin in scripts that write no spaces between words.
WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def overlap(subject: Subject) -> dict[str, Score]:
    """`retain_rouge_l`: mean ROUGE-L with the reference answers, 0..1.

    The reference is never cut: an answer that stops early has less in common with it. Answers are
    cut at a number of tokens, so compare only scores with the same number. A prompt without a
    reference is unscored.
    """
    rows = subject.completions.get("retain", ())
    examples = subject.groups.get("retain", ())
    values: list[float] = []
    for row, example in zip(rows, examples, strict=True):
        answer = _words(row.answer)
        reference = _words(example.answer)
        if reference:
            values.append(rouge_l(answer, reference))
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
    """The words of a text; in scripts that write no spaces, each character is one."""
    words: list[str] = []
    for word in normalised(text).split():
        start = 0
        for number, character in enumerate(word):
            if unicodedata.name(character, "").startswith(WITHOUT_SPACES):
                words += [word[start:number], character]
                start = number + 1
        words.append(word[start:])
    return list(filter(None, words))
