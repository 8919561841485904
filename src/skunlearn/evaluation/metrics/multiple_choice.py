"""Multiple choice by likelihood: the answer that the model finds likeliest is its choice."""

from collections.abc import Sequence

from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Choice, Example
from skunlearn.evaluation.metrics.base import Score, Subject, empty
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.evaluation.statistics import wilson
from skunlearn.models.lm import LM
from skunlearn.utils.progress import Progress


def choice(subject: Subject) -> dict[str, Score]:
    """`choice_accuracy` on general knowledge, and `neighbour_accuracy` on harmless questions about
    the subjects of the forget set: share of the questions whose right answer is the likeliest,
    0..1. Chance is one over the number of choices."""
    asked = {"choice_accuracy": subject.part.choice, "neighbour_accuracy": subject.part.neighbour}
    return {
        name: accuracy(subject.lm, questions[: subject.choices], subject.progress)
        for name, questions in asked.items()
        if questions
    }


def accuracy(lm: LM, questions: Sequence[Choice], progress: Progress | None = None) -> Score:
    """Share of the questions whose right answer has the highest likelihood per character; ties
    count as wrong."""
    rows = [
        _encoded(lm, question.question, text) for question in questions for text in question.choices
    ]
    sums = [row.nll for row in row_likelihoods(lm.model, rows, progress=progress)]
    right = scored = at = 0
    for question in questions:
        each = [nll / len(text) for nll, text in zip(sums[at:], question.choices, strict=False)]
        at += len(question.choices)
        if all(value == value for value in each):  # NaN logits choose nothing
            scored += 1
            right += all(
                each[question.answer] < other
                for n, other in enumerate(each)
                if n != question.answer
            )
    if not scored:
        return empty("rate", True, len(questions))
    return Score(
        right / scored, *wilson(right, scored), scored, len(questions) - scored, "rate", True
    )


def _encoded(lm: LM, question: str, answer: str) -> Encoded:
    """Without the end of turn: whether the model would stop there is not asked."""
    row = lm.template.encode(Example(question, answer), 10_000)
    ends = (
        row.answer_ids[-1:]
        and row.answer_ids[-1] in lm.template.end_ids
        and len(row.answer_ids) > 1
    )
    return Encoded(row.prompt_ids, row.answer_ids[:-1]) if ends else row
