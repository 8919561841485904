"""Agreement of labels: a judge with people, or one judge with another."""

from collections.abc import Sequence
from typing import Any

from skunlearn.evaluation.judges.base import LABELS
from skunlearn.utils.files import JsonDict

UNSCORED = "unscored"


def per_label(truth: Sequence[str], found: Sequence[str | None]) -> dict[str, JsonDict]:
    """For each of the four labels, that label against everything else.

    An answer without a verdict (None) counts as a miss of its true label, never as agreement.

    Args:
        truth: labels; one outside the four counts as "not this one" for each of them.
        found: the judge's, None where it could not tell.

    Returns:
        label -> `precision`, `recall`, `f1` (0..1, None where nothing is there to divide by),
        `kappa` (Cohen's, -1..1, None when both sides are constant), `n` answers that truly have the
        label, `unscored` ones among them.
    """
    return {label: _one(label, truth, found) for label in LABELS}


def _one(label: str, truth: Sequence[str], found: Sequence[str | None]) -> JsonDict:
    pairs = [(t == label, f == label) for t, f in zip(truth, found, strict=True)]
    n, called, both = (
        sum(t for t, _ in pairs),
        sum(f for _, f in pairs),
        sum(t and f for t, f in pairs),
    )
    return {
        "precision": both / called if called else None,
        "recall": both / n if n else None,
        "f1": 2 * both / (n + called) if n else None,
        "kappa": kappa([t for t, _ in pairs], [f for _, f in pairs]),
        "n": n,
        "unscored": sum(t == label and f is None for t, f in zip(truth, found, strict=True)),
    }


def kappa(first: Sequence[Any], second: Sequence[Any]) -> float | None:
    """Cohen's kappa, -1..1: agreement beyond what the two sides' frequencies would give; None when
    that is certain."""
    n = len(first)
    if not n:
        return None
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(list(first).count(v) * list(second).count(v) for v in {*first, *second}) / n**2
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def auroc(positive: Sequence[bool], score: Sequence[float]) -> float | None:
    """Area under the ROC curve, 0..1, 0.5 is chance; None when one of the two classes is
    missing."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score)) if len(set(positive)) == 2 else None


def confusion(truth: Sequence[str], found: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """true label -> found label (or "unscored") -> count; every combination that occurs."""
    table: dict[str, dict[str, int]] = {}
    for t, f in zip(truth, found, strict=True):
        row = table.setdefault(t, {})
        row[f or UNSCORED] = row.get(f or UNSCORED, 0) + 1
    return table


def thresholds(positive: Sequence[bool], score: Sequence[float]) -> list[JsonDict]:
    """Sensitivity and specificity of "score >= threshold" at 0.05, 0.10, ..., 0.95; None without
    such a class."""
    harmful = [s for p, s in zip(positive, score, strict=True) if p]
    others = [s for p, s in zip(positive, score, strict=True) if not p]
    return [
        {
            "threshold": at / 20,
            "sensitivity": sum(s >= at / 20 for s in harmful) / len(harmful) if harmful else None,
            "specificity": sum(s < at / 20 for s in others) / len(others) if others else None,
        }
        for at in range(1, 20)
    ]
