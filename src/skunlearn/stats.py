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
