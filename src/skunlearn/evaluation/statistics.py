"""Intervals, and the points of a trade that nothing beats. Pure numpy; every function says what is
resampled."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 2000


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a rate, 95 % by default; (0, 1) when there is nothing to
    count."""
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return (
        0.0 if successes == 0 else low,
        1.0 if successes == n else high,
    )  # exactly, whatever was rounded


def bootstrap_mean(
    values: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a (weighted) mean; rows are resampled, so tokens of a
    row stay together.

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


def paired_difference(
    before: Sequence[float], after: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Mean of `after - before` on the same rows, and its 95 % bootstrap interval (rows are
    resampled). Of hits (1) and misses (0) that all changed alike, or not at all, a bootstrap would
    make a certainty: there it is `newcombe`'s."""
    difference = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    low, high = bootstrap_mean(list(difference), seed=seed)
    if len(difference) and low == high and {*before, *after} <= {0, 1}:
        low, high = newcombe(before, after)
    return float(difference.mean()) if len(difference) else float("nan"), low, high


def newcombe(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the difference of two paired rates, after less before (Newcombe 1998, method
    10).

    Args:
        before: hits (1) and misses (0), one a row.
        after: of the same rows.
    """
    n = len(before)
    rates = sum(before) / n, sum(after) / n
    (low_1, high_1), (low_2, high_2) = wilson(round(sum(before)), n), wilson(round(sum(after)), n)
    both = sum(a == b == 1 for a, b in zip(before, after, strict=True))
    neither = sum(a == b == 0 for a, b in zip(before, after, strict=True))
    only_before, only_after = sum(before) - both, sum(after) - both
    agree = both * neither - only_before * only_after
    agree = max(agree - n / 2, 0) if agree > 0 else agree  # his correction for continuity
    spread = np.sqrt(sum(before) * (n - sum(before)) * sum(after) * (n - sum(after)))
    phi = float(agree / spread) if spread else 0.0  # the correlation of the two sides

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2)))

    change = rates[1] - rates[0]
    return (
        change - reach(rates[1] - low_2, high_1 - rates[0]),
        change + reach(high_2 - rates[1], rates[0] - low_1),
    )


def crossed_difference(
    before_SP: Sequence[Sequence[float]], after_SP: Sequence[Sequence[float]], seed: int = 0
) -> tuple[float, float, float]:
    """Mean of `after - before` over prompts and seeds, and its 95 % bootstrap interval.

    Prompts are resampled together, since they are the same on both sides; seeds are resampled on
    each side apart, since those of one method have nothing to do with those of another. A few seeds
    hardly show how far seeds can lie apart: with one, only prompts are in the interval. A prompt
    without a value on either side is in no mean.

    Args:
        before_SP: one value a seed and prompt; NaN where there is none.
        after_SP: the same of the same prompts; the number of seeds may differ.
        seed: of the draws.
    """
    before, after = (np.asarray(side, dtype=float) for side in (before_SP, after_SP))
    draws = np.random.default_rng(seed)

    def over_seeds(side_SP: np.ndarray) -> np.ndarray:
        return _known_mean(side_SP[draws.integers(0, len(side_SP), (RESAMPLES, len(side_SP)))], 1)

    change_RP = over_seeds(after) - over_seeds(before)
    prompts_RP = draws.integers(0, change_RP.shape[1], change_RP.shape)
    means_R = _known_mean(np.take_along_axis(change_RP, prompts_RP, 1), 1)
    value = float(_known_mean(_known_mean(after, 0) - _known_mean(before, 0), 0))
    return value, float(np.nanpercentile(means_R, 2.5)), float(np.nanpercentile(means_R, 97.5))


def crossed_mean(values_SP: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean over prompts and seeds, and its 95 % bootstrap interval, resampled as in
    `crossed_difference`."""
    return crossed_difference([[0.0] * len(values_SP[0])], values_SP, seed)


def seeds_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean over seeds by Student's t; None for fewer than two."""
    if len(values) < 2:
        return None
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean - half, mean + half


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other one beats: as low everywhere and lower somewhere."""
    return [
        not any(
            all(a <= b for a, b in zip(other, point, strict=True)) and other != point
            for other in points
        )
        for point in points
    ]


def _known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the values that are numbers; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.where(known, values, 0.0).sum(axis) / np.where(count, count, np.nan)


def corrected_rate(
    hits: int, n: int, found: tuple[int, int], cleared: tuple[int, int], seed: int = 0
) -> tuple[float, float, float] | None:
    """A rate as a perfect judge would have counted it (Rogan and Gladen, 1978), with its 95 %
    interval.

        corrected = (rate + specificity - 1) / (sensitivity + specificity - 1), cut to 0..1

    Rate, sensitivity and specificity are each drawn anew (binomial, with half a hit and half a miss
    added, so that a perfect sample is not taken for certainty), so the interval carries the
    uncertainty of all three. It presumes that the judge errs on these answers as on the labelled
    ones.

    Args:
        hits: answers that the judge calls harmful.
        n: answers that it scored.
        found: (harmful labelled answers that it calls harmful, harmful labelled answers).
        cleared: (other labelled answers that it does not call harmful, other labelled answers).
        seed: of the draws.

    Returns:
        Value, low, high; None when there is nothing to count, or when the judge cannot be told from
        a coin (the interval of sensitivity + specificity - 1 reaches 0).
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
    value = (hits / n + cleared[0] / cleared[1] - 1) / (
        found[0] / found[1] + cleared[0] / cleared[1] - 1
    )
    return (
        min(1.0, max(0.0, value)),
        float(np.percentile(corrected, 2.5)),
        float(np.percentile(corrected, 97.5)),
    )
