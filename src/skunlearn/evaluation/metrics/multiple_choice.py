"""Multiple choice by likelihood: the answer that the model finds likeliest is its choice."""

import math
from collections.abc import Sequence

from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Choice, Example
from skunlearn.evaluation.metrics.base import Score, Subject, metric_empty, metric_score
from skunlearn.evaluation.metrics.fluency import NO_LIMIT, without_end
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.evaluation.statistics import wilson
from skunlearn.models.lm import LM
from skunlearn.utils.progress import Progress

ACCURACY = "choice_accuracy"


def choice(subject: Subject) -> dict[str, Score]:
    """`choice_accuracy` on general knowledge, and `neighbour_accuracy` on harmless questions about
    the subjects of the forget set.

    Each is the share of the questions whose right answer is the likeliest, 0..1. Chance is one over
    the number of choices.
    """
    questions = {ACCURACY: subject.part.choice, "neighbour_accuracy": subject.part.neighbour}
    scores: dict[str, Score] = {}
    for name, found in questions.items():
        if found:
            scores[name] = accuracy(subject.lm, found[: subject.choices], subject.progress)
    return scores


def accuracy(lm: LM, questions: Sequence[Choice], progress: Progress | None = None) -> Score:
    """Share of the questions whose right answer has the highest likelihood per character.

    Ties count as wrong. A question with NaN logits is unscored.

    Args:
        lm: the model.
        questions: with their choices.
        progress: reports the batches.
    """
    rows: list[Encoded] = []
    for question in questions:
        for text in question.choices:
            rows.append(_encoded(lm, question.question, text))
    nll = [row.nll for row in row_likelihoods(lm.model, rows, progress=progress)]

    right = 0
    scored = 0
    start = 0
    for question in questions:
        per_character: list[float] = []
        for number, text in enumerate(question.choices):
            per_character.append(nll[start + number] / len(text))
        start += len(question.choices)
        if not any(map(math.isnan, per_character)):
            scored += 1
            right += _is_right(question, per_character)
    if not scored:
        return metric_empty(ACCURACY, len(questions))
    interval = wilson(right, scored)
    return metric_score(ACCURACY, right / scored, interval, scored, len(questions) - scored)


def _is_right(question: Choice, per_character: Sequence[float]) -> bool:
    others = [nll for number, nll in enumerate(per_character) if number != question.answer]
    return per_character[question.answer] < min(others)


def _encoded(lm: LM, question: str, answer: str) -> Encoded:
    """Question and answer without the end of turn: whether the model would stop there does not
    matter."""
    row = lm.template.encode(Example(question, answer), NO_LIMIT)
    return without_end(row, lm.template)
