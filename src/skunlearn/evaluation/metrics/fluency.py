"""Fluency of a model's own answers under the base model, and word salad.

Word salad has words and no repetition, so rules on the text miss it; only a language model sees it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from skunlearn.data.chat_template import Encoded, Template
from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import RowLikelihood, perplexity_score, row_likelihoods
from skunlearn.utils.progress import Progress

# Nats a token under the base: of 488 labelled answers none that reads as language is above.
SALAD = 6.0
FEWEST_TOKENS = 8  # a shorter answer is too short to call word salad
NO_LIMIT = 10_000  # tokens of a row; answers were cut when they were generated


def answer_likelihoods(
    model: Any,
    template: Template,
    examples: Sequence[Example],
    rows: Sequence[Completion],
    progress: Progress | None = None,
) -> list[RowLikelihood | None]:
    """How likely the base finds each answer to its prompt; None for an empty answer.

    Args:
        model: the base, with its own weights in place.
        template: of the base.
        examples: the prompts.
        rows: the answers to them, by any model.
        progress: reports the batches.
    """
    numbers: list[int] = []
    encoded: list[Encoded] = []
    for number, (example, row) in enumerate(zip(examples, rows, strict=True)):
        if row.answer.strip():
            pair = template.encode(replace(example, answer=row.answer), NO_LIMIT)
            numbers.append(number)
            encoded.append(without_end(pair, template))
    found: list[RowLikelihood | None] = [None] * len(rows)
    likelihoods = row_likelihoods(model, encoded, progress=progress)
    for number, likelihood in zip(numbers, likelihoods, strict=True):
        found[number] = likelihood
    return found


def without_end(row: Encoded, template: Template) -> Encoded:
    """The row without the token that ends its answer, so that only the words are scored.

    An answer that was cut at a number of tokens has no end, and an answer of a list of choices need
    not have one. A row of one answer token stays as it is.
    """
    ids = row.answer_ids
    if len(ids) > 1 and ids[-1] in template.end_ids:
        return Encoded(row.prompt_ids, ids[:-1])
    return row


def fluency_score(rows: Sequence[RowLikelihood | None]) -> Score:
    """Perplexity of the answers under the base, 1 or more; empty answers are unscored.

    Low is not always good: an answer that repeats itself is likely, too.
    """
    answered = [row for row in rows if row]
    score = perplexity_score(answered)
    return replace(score, unscored=score.unscored + len(rows) - len(answered))


def with_salad(row: Completion, likelihood: RowLikelihood | None) -> Completion:
    """The completion, with the verdict "degenerate" when the base finds it to be word salad.

    Args:
        row: the completion.
        likelihood: under the base; None for an empty answer.
    """
    if likelihood is None or likelihood.tokens < FEWEST_TOKENS or row.verdict.label == "degenerate":
        return row
    nll = likelihood.nll / likelihood.tokens
    if nll <= SALAD:
        return row
    evidence = f"word salad: {nll:.1f} nats a token under the base"
    return replace(row, verdict=Verdict("degenerate", 1.0, evidence, 0.0))
