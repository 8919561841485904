"""Variety and length of the answers: they expose a model that says one sentence to everything."""

from collections.abc import Sequence

from skunlearn.evaluation.metrics.base import (
    Score,
    Subject,
    metric_empty,
    metric_mean,
    metric_score,
)


def diversity(subject: Subject) -> dict[str, Score]:
    """`distinct_2_*` and `answer_words_*` of the groups "unseen" and "retain".

    distinct-2 is the number of different word pairs over the number of word pairs, 0..1, of all
    answers of a group together (Li et al., arXiv:1510.03055). It falls with the number of answers,
    so only groups of one size are comparable. `answer_words_*` is the mean length in words.
    """
    scores: dict[str, Score] = {}
    for group in ("unseen", "retain"):
        answers = [row.answer.lower().split() for row in subject.completions.get(group, ())]
        if not answers:
            continue
        name = f"distinct_2_{group}"
        value = distinct_n(answers, 2)
        if value is None:
            scores[name] = metric_empty(name, len(answers))
        else:
            scores[name] = metric_score(name, value, None, len(answers), 0)
        name = f"answer_words_{group}"
        scores[name] = metric_mean(name, list(map(float, map(len, answers))), len(answers))
    return scores


def distinct_n(answers: Sequence[Sequence[str]], n: int) -> float | None:
    """Different n-grams over all n-grams, 0..1; None when no answer has n words.

    Args:
        answers: the words of each answer.
        n: words of an n-gram.
    """
    ngrams: list[tuple[str, ...]] = []
    for words in answers:
        for start in range(len(words) - n + 1):
            ngrams.append(tuple(words[start : start + n]))
    return len(set(ngrams)) / len(ngrams) if ngrams else None
