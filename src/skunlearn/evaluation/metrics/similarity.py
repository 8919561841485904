"""Semantic similarity of answers to the same prompts, by the embeddings of all-MiniLM-L6-v2."""

from collections.abc import Sequence

import torch

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion
from skunlearn.evaluation.metrics.base import Score, Subject, metric_empty, metric_score
from skunlearn.evaluation.statistics import bootstrap_mean
from skunlearn.models.embeddings import embeddings
from skunlearn.utils.progress import Progress

NAME = "retain_similarity"


def similarity(subject: Subject) -> dict[str, Score]:
    """`retain_similarity` to the base's answers (1 for the base itself), and
    `reference_similarity` to the reference answers."""
    rows = subject.completions.get("retain", ())
    if not rows:
        return {}
    base = subject.base or subject
    answers = _texts(rows)
    base_answers = _texts(base.completions["retain"])
    references = _texts(subject.groups["retain"])
    return {
        NAME: similarity_score(answers, base_answers, subject.progress),
        "reference_similarity": similarity_score(answers, references, subject.progress),
    }


def _texts(rows: Sequence[Completion | Example]) -> list[str]:
    return [row.answer for row in rows]


def similarity_score(
    answers: Sequence[str], references: Sequence[str], progress: Progress | None = None
) -> Score:
    """Mean cosine similarity, -1..1, of each answer to its reference.

    Equal answers have 1, unrelated ones about 0. A pair with an empty side is unscored.

    Args:
        answers: one a prompt.
        references: one a prompt, in the same order.
        progress: reports the download of the embedding model.
    """
    texts: list[str] = []  # answer, reference, answer, reference, ...
    for answer, reference in zip(answers, references, strict=True):
        if answer.strip() and reference.strip():
            texts += [answer, reference]
    if not texts:
        return metric_empty(NAME, len(answers))
    vectors_ND = embeddings(texts, progress or Progress())
    cosines = torch.nn.functional.cosine_similarity(vectors_ND[0::2], vectors_ND[1::2]).tolist()
    n = len(cosines)
    return metric_score(NAME, sum(cosines) / n, bootstrap_mean(cosines), n, len(answers) - n)
