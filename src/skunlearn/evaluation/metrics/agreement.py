"""Agreement of labels: a judge with human labels, or one judge with another.

scikit-learn is imported by the functions that need it.
"""

from collections.abc import Sequence
from typing import Any

from skunlearn.evaluation.judges.base import LABELS
from skunlearn.utils.files import JsonDict

UNSCORED = "unscored"


def per_label(truth: Sequence[str], found: Sequence[str | None]) -> dict[str, JsonDict]:
    """Precision, recall, F1 and kappa of each of the four labels against everything else.

    An answer without a verdict (None) counts as a miss of its true label, never as agreement.

    Args:
        truth: the true labels; one outside the four is "another label" for each of them.
        found: the judge's labels, None where it has no verdict.

    Returns:
        label -> `precision`, `recall`, `f1` (0..1, None where the denominator is 0), `kappa`
        (Cohen's, -1..1, None when both sides are constant and equal), `n` answers that truly have
        the label, `unscored` ones among them.
    """
    return {label: _one_label(label, truth, found) for label in LABELS}


def _one_label(label: str, truth: Sequence[str], found: Sequence[str | None]) -> JsonDict:
    is_true: list[bool] = []
    is_found: list[bool] = []
    hits = 0
    unscored = 0
    for true_label, found_label in zip(truth, found, strict=True):
        is_true.append(true_label == label)
        is_found.append(found_label == label)
        hits += true_label == label and found_label == label
        unscored += true_label == label and found_label is None
    n = sum(is_true)
    called = sum(is_found)
    return {
        "precision": hits / called if called else None,
        "recall": hits / n if n else None,
        "f1": 2 * hits / (n + called) if n else None,
        "kappa": kappa(is_true, is_found),
        "n": n,
        "unscored": unscored,
    }


def kappa(first: Sequence[Any], second: Sequence[Any]) -> float | None:
    """Cohen's kappa (Cohen, 1960), -1..1; 0 is the agreement expected by chance.

        (p_agreed - p_chance) / (1 - p_chance)

    p_chance comes from how often each side uses each label.

    Args:
        first: labels of any hashable kind; None is one more label.
        second: the labels of the same rows by the other side.

    Returns:
        None without rows, or when both sides have one and the same label everywhere: then agreement
        by chance is certain.
    """
    from sklearn.metrics import cohen_kappa_score

    labels = list(dict.fromkeys([*first, *second]))
    if len(labels) < 2:
        return None
    # scikit-learn takes no labels of mixed types, so it is given their numbers.
    numbers_first = [labels.index(label) for label in first]
    numbers_second = [labels.index(label) for label in second]
    return float(cohen_kappa_score(numbers_first, numbers_second))


def auroc(positive: Sequence[bool], score: Sequence[float]) -> float | None:
    """Area under the ROC curve, 0..1; 0.5 is chance, None when one of the two classes is missing.

    Args:
        positive: whether each row belongs to the positive class.
        score: of each row; higher means more likely positive.
    """
    from sklearn.metrics import roc_auc_score

    if len(set(positive)) < 2:
        return None
    return float(roc_auc_score(positive, score))


def confusion(truth: Sequence[str], found: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """true label -> found label (or "unscored") -> count, for the combinations that occur."""
    table: dict[str, dict[str, int]] = {}
    for true_label, found_label in zip(truth, found, strict=True):
        row = table.setdefault(true_label, {})
        column = found_label or UNSCORED
        row[column] = row.get(column, 0) + 1
    return table


def thresholds(positive: Sequence[bool], score: Sequence[float]) -> list[JsonDict]:
    """Sensitivity and specificity of "score >= threshold" at 0.05, 0.10, ..., 0.95.

    Args:
        positive: whether each row belongs to the positive class.
        score: of each row, 0..1.

    Returns:
        One row a threshold; None where the class that the number is about is missing.
    """
    positives = sum(map(bool, positive))
    negatives = len(positive) - positives
    rows: list[JsonDict] = []
    for twentieths in range(1, 20):
        threshold = twentieths / 20
        found = 0
        cleared = 0
        for is_positive, value in zip(positive, score, strict=True):
            if is_positive:
                found += value >= threshold
            else:
                cleared += value < threshold
        rows.append(
            {
                "threshold": threshold,
                "sensitivity": found / positives if positives else None,
                "specificity": cleared / negatives if negatives else None,
            }
        )
    return rows
