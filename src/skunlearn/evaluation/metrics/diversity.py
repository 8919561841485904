"""How varied and how long answers are: a model that says one sentence to everything shows here."""

from collections.abc import Sequence

from skunlearn.evaluation.metrics.base import Score, Subject, empty, mean_score


def diversity(subject: Subject) -> dict[str, Score]:
    """`distinct_2_*`: different word pairs over word pairs, of all answers of a group together,
    0..1 (distinct-n of Li et al., arXiv:1510.03055; it falls with the number of answers, so compare
    like with like). `answer_words_*`: mean length in words."""
    scores: dict[str, Score] = {}
    for group in ("unseen", "retain"):
        answers = [row.answer.lower().split() for row in subject.completions.get(group, ())]
        if answers:
            value, name = distinct_n(answers, 2), f"distinct_2_{group}"
            scores[name] = empty("share", True, len(answers))
            if value is not None:
                scores[name] = Score(value, None, None, len(answers), 0, "share", True)
            lengths = [float(len(words)) for words in answers]
            scores[f"answer_words_{group}"] = mean_score(lengths, len(answers), "words", None)
    return scores


def distinct_n(answers: Sequence[Sequence[str]], n: int) -> float | None:
    """Different runs of n words over all of them, 0..1; None when no answer has n words."""
    runs = [tuple(words[at : at + n]) for words in answers for at in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None
