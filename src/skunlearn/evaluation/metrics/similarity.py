"""Semantic similarity of two models' answers to the same prompts, by the embeddings of
all-MiniLM-L6-v2."""

from collections.abc import Sequence

import torch

from skunlearn.evaluation.metrics.base import Score, Subject, empty
from skunlearn.evaluation.statistics import bootstrap_mean
from skunlearn.models.embeddings import embeddings
from skunlearn.utils.progress import Progress


def similarity(subject: Subject) -> dict[str, Score]:
    """`retain_similarity` to the base's answers (1 for the base itself), `reference_similarity` to
    references."""
    rows = subject.completions.get("retain", ())
    if not rows:
        return {}
    mine = [row.answer for row in rows]
    theirs = [row.answer for row in (subject.base or subject).completions["retain"]]
    references = [example.answer for example in subject.groups["retain"]]
    return {
        "retain_similarity": similarity_score(mine, theirs, subject.progress),
        "reference_similarity": similarity_score(mine, references, subject.progress),
    }


def similarity_score(
    answers: Sequence[str], references: Sequence[str], progress: Progress | None = None
) -> Score:
    """Mean cosine similarity, -1..1, of each answer to its reference; a pair with an empty side is
    unscored.

    Equal answers have 1, unrelated ones about 0.
    """
    pairs = [(a, r) for a, r in zip(answers, references, strict=True) if a.strip() and r.strip()]
    if not pairs:
        return empty("cosine", True, len(answers))
    both_PD = embeddings([text for pair in pairs for text in pair], progress or Progress())
    cosines = torch.nn.functional.cosine_similarity(both_PD[0::2], both_PD[1::2]).tolist()
    low, high = bootstrap_mean(cosines)
    return Score(
        sum(cosines) / len(cosines),
        low,
        high,
        len(cosines),
        len(answers) - len(cosines),
        "cosine",
        True,
    )
