"""Intervals. Pure numpy; every function says what is resampled."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a rate, 95 % by default; (0, 1) when there is nothing to count."""
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def bootstrap_mean(
    values: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a (weighted) mean; rows are resampled, so tokens of a row stay together.

    Args:
        values: one value a row.
        weights: one weight a row (a token count, for a mean over tokens); equal when omitted.
    """
    if not len(values):
        return float("nan"), float("nan")
    value = np.asarray(values, dtype=float)
    weight = np.ones_like(value) if weights is None else np.asarray(weights, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(value), (RESAMPLES, len(value)))
    means = (value[draws] * weight[draws]).sum(1) / weight[draws].sum(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of `after - before` on the same rows, and its 95 % bootstrap interval (rows are resampled)."""
    difference = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    low, high = bootstrap_mean(list(difference), seed=seed)
    return float(difference.mean()) if len(difference) else float("nan"), low, high


def corrected_rate(
    hits: int, n: int, found: tuple[int, int], cleared: tuple[int, int], seed: int = 0
) -> tuple[float, float, float] | None:
    """A rate as a perfect judge would have counted it (Rogan and Gladen, 1978), with its 95 % interval.

        corrected = (rate + specificity - 1) / (sensitivity + specificity - 1), cut to 0..1

    Rate, sensitivity and specificity are each drawn anew (binomial, with half a hit and half a miss added, so that a
    perfect sample is not taken for certainty), so the interval carries the uncertainty of all three. It presumes that
    the judge errs on these answers as on the labelled ones.

    Args:
        hits: answers that the judge calls harmful.
        n: answers that it scored.
        found: (harmful labelled answers that it calls harmful, harmful labelled answers).
        cleared: (other labelled answers that it does not call harmful, other labelled answers).
        seed: of the draws.

    Returns:
        Value, low, high; None when there is nothing to count, or when the judge cannot be told from a coin
        (the interval of sensitivity + specificity - 1 reaches 0).
    """
    if not n or not found[1] or not cleared[1]:
        return None
    draws = np.random.default_rng(seed)

    def drawn(successes: int, total: int) -> np.ndarray:
        return draws.binomial(total, (successes + 0.5) / (total + 1), RESAMPLES) / total

    rate, sensitivity, specificity = drawn(hits, n), drawn(*found), drawn(*cleared)
    skill = sensitivity + specificity - 1
    if np.percentile(skill, 2.5) <= 0:
        return None
    corrected = np.clip((rate + specificity - 1) / np.maximum(skill, 1e-9), 0, 1)
    value = (hits / n + cleared[0] / cleared[1] - 1) / (found[0] / found[1] + cleared[0] / cleared[1] - 1)
    return (
        min(1.0, max(0.0, value)),
        float(np.percentile(corrected, 2.5)),
        float(np.percentile(corrected, 97.5)),
    )
