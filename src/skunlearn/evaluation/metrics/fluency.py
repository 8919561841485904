"""Fluency of what a model itself wrote, as its base sees it; and word salad, which only a language
model can see."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from skunlearn.data.chat_template import Encoded, Template
from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import RowLikelihood, perplexity_score, row_likelihoods
from skunlearn.utils.progress import Progress

SALAD = (
    6.0  # nats a token under the base: of 488 labelled answers none that reads as language is above
)
FEWEST_TOKENS = 8


def answer_likelihoods(
    model: Any,
    template: Template,
    examples: Sequence[Example],
    rows: Sequence[Completion],
    progress: Progress | None = None,
) -> list[RowLikelihood | None]:
    """How likely a model finds each answer to its prompt; None for an empty answer.

    Args:
        model: the base, with its own weights in place.
        template: of the base.
        examples: what was asked.
        rows: what came, by any model.
        progress: is told of the work.
    """
    encoded = [
        template.encode(replace(example, answer=row.answer), 10_000) if row.answer.strip() else None
        for example, row in zip(examples, rows, strict=True)
    ]
    given = [_without_end(row, template) for row in encoded if row]
    found = iter(row_likelihoods(model, given, progress=progress))
    return [next(found) if row else None for row in encoded]


def _without_end(row: Encoded, template: Template) -> Encoded:
    """An answer that was cut does not end, so its end is not scored."""
    ids = row.answer_ids
    return (
        Encoded(row.prompt_ids, ids[:-1]) if len(ids) > 1 and ids[-1] in template.end_ids else row
    )


def fluency_score(rows: Sequence[RowLikelihood | None]) -> Score:
    """Perplexity of the answers under the base, 1 or more; empty answers are unscored.

    Low is not always good: an answer that repeats itself is likely, too.
    """
    score = perplexity_score([row for row in rows if row])
    return replace(score, unscored=score.unscored + sum(row is None for row in rows))


def with_salad(row: Completion, likelihood: RowLikelihood | None) -> Completion:
    """The completion, called degenerate when the base finds its words in no order that it knows."""
    if likelihood is None or likelihood.tokens < FEWEST_TOKENS or row.verdict.label == "degenerate":
        return row
    nll = likelihood.nll / likelihood.tokens
    if nll <= SALAD:
        return row
    return replace(
        row,
        verdict=Verdict(
            "degenerate", 1.0, f"word salad: {nll:.1f} nats a token under the base", 0.0
        ),
    )
