"""Confidence intervals of rates, means and changes, and the Pareto front.

| what is estimated                             | interval                                      |
|-----------------------------------------------|-----------------------------------------------|
| a rate of one model                           | `wilson`                                      |
| a mean over rows (NLL, KL, cosine)            | `bootstrap_mean`, which resamples rows        |
| a change on the same prompts                  | `paired_difference`, which resamples prompts  |
| a change of a rate without any spread         | `newcombe`                                    |
| means and changes over prompts and seeds      | `crossed_mean`, `crossed_difference`          |
| a mean over seeds alone                       | `seeds_interval`, Student's t                 |
| a harmful rate without the judge's own errors | `corrected_rate`, parametric bootstrap        |

All intervals are 95 % intervals. scipy is imported by the functions that need it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
# The two-sided confidence at which the normal quantile is 1.96, the customary rounding of 95 %.
CONFIDENCE = 0.950004209703559
ENDS = (2.5, 97.5)  # percentiles that bound a bootstrap interval


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson, 1927); it is used for every rate of one model.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   z = 1.96

    Unlike the normal approximation it stays within 0..1 and has a width at 0 and at n successes.

    Args:
        successes: rows that count, 0 to n.
        n: rows.

    Returns:
        Low and high end; (0, 1) for no rows.
    """
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 1.0
    interval = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_mean(
    values: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a (weighted) mean (Efron, 1979).

    Whole rows are resampled, so the tokens of a row stay together.

    Args:
        values: one value a row.
        weights: one weight a row (a token count, for a mean over tokens); equal when omitted.
        seed: of the resampling.

    Returns:
        Low and high end; NaN without rows.
    """
    if not len(values):
        return float("nan"), float("nan")
    value = np.asarray(values, dtype=float)
    weight = np.ones_like(value) if weights is None else np.asarray(weights, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(value), (RESAMPLES, len(value)))
    means = (value[draws] * weight[draws]).sum(1) / weight[draws].sum(1)
    return _percentile_interval(means)


def paired_difference(
    before: Sequence[float], after: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Mean of `after - before` on the same rows, with a bootstrap interval that resamples rows.

    Where all differences are equal, every resample has the same mean and the interval no width. Of
    hits and misses that would claim a certainty that a few dozen rows cannot give, so Newcombe's
    interval takes its place.

    Args:
        before: one value a row; 1 (hit) and 0 (miss) for a rate.
        after: the same of the same rows.
        seed: of the resampling.

    Returns:
        Mean, low and high end; NaN without rows.
    """
    difference = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if not len(difference):
        return float("nan"), float("nan"), float("nan")
    low, high = bootstrap_mean(list(difference), seed=seed)
    are_hits = {*before, *after} <= {0, 1}
    if low == high and are_hits:
        low, high = newcombe(before, after)
    return float(difference.mean()), low, high


def newcombe(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Interval of the difference of two paired rates (Newcombe, 1998, method 10).

    Wilson's intervals [l1, u1] of p1 (before) and [l2, u2] of p2 (after) are combined:

        low  = p2 - p1 - sqrt((p2 - l2)^2 - 2 phi (p2 - l2) (u1 - p1) + (u1 - p1)^2)
        high = p2 - p1 + sqrt((u2 - p2)^2 - 2 phi (u2 - p2) (p1 - l1) + (p1 - l1)^2)

    phi is the correlation of the two sides, corrected for continuity.

    Args:
        before: hits (1) and misses (0), one a row; at least one row.
        after: the same of the same rows.
    """
    n = len(before)
    hits_before = sum(before)
    hits_after = sum(after)
    rate_before = hits_before / n
    rate_after = hits_after / n
    low_before, high_before = wilson(round(hits_before), n)
    low_after, high_after = wilson(round(hits_after), n)
    phi = _paired_correlation(before, after)

    def combined(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2)))

    change = rate_after - rate_before
    return (
        change - combined(rate_after - low_after, high_before - rate_before),
        change + combined(high_after - rate_after, rate_before - low_before),
    )


def _paired_correlation(before: Sequence[float], after: Sequence[float]) -> float:
    """Newcombe's phi: (ad - bc) over the root of the product of the margins; 0 where one is 0.

    A positive ad - bc is reduced by n / 2, but not below 0: his correction for continuity.
    """
    n = len(before)
    hits_before = sum(before)
    hits_after = sum(after)
    both = 0
    neither = 0
    for one, other in zip(before, after, strict=True):
        both += one == other == 1
        neither += one == other == 0
    only_before = hits_before - both
    only_after = hits_after - both
    agreement = both * neither - only_before * only_after
    if agreement > 0:
        agreement = max(agreement - n / 2, 0)
    spread = np.sqrt(hits_before * (n - hits_before) * hits_after * (n - hits_after))
    return float(agreement / spread) if spread else 0.0


def crossed_difference(
    before_SP: Sequence[Sequence[float]], after_SP: Sequence[Sequence[float]], seed: int = 0
) -> tuple[float, float, float]:
    """Mean of `after - before` over seeds and prompts, with a bootstrap interval over both.

    It is used where a method was trained with several seeds and all of them answered the same
    prompts. Prompts are resampled together, since they are the same on both sides. Seeds are
    resampled on each side separately, since seed 1 of one method has nothing to do with seed 1 of
    another. A few seeds show little of how much seeds differ; with one seed the interval covers the
    prompts alone. A prompt without a value on either side is in no mean.

    Args:
        before_SP: one value a seed and prompt, (S, P); NaN where there is none.
        after_SP: the same of the same prompts; the number of seeds may differ.
        seed: of the resampling.

    Returns:
        Mean, low and high end.
    """
    before = np.asarray(before_SP, dtype=float)
    after = np.asarray(after_SP, dtype=float)
    draws = np.random.default_rng(seed)

    def resampled_seed_means(side_SP: Floats) -> Floats:
        """Mean over one draw of seeds for each resample and prompt, (R, P)."""
        seeds_RS = draws.integers(0, len(side_SP), (RESAMPLES, len(side_SP)))
        return _mean_without_nan(side_SP[seeds_RS], 1)

    # First the seeds: the draws of the side after come before those of the side before.
    after_RP = resampled_seed_means(after)
    before_RP = resampled_seed_means(before)
    change_RP = after_RP - before_RP
    # Then the prompts, one draw a resample for both sides.
    prompts_RP = draws.integers(0, change_RP.shape[1], change_RP.shape)
    means_R = _mean_without_nan(np.take_along_axis(change_RP, prompts_RP, 1), 1)

    change_P = _mean_without_nan(after, 0) - _mean_without_nan(before, 0)
    value = float(_mean_without_nan(change_P, 0))
    low, high = np.nanpercentile(means_R, ENDS)
    return value, float(low), float(high)


def crossed_mean(values_SP: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean over seeds and prompts, resampled as in `crossed_difference`.

    Args:
        values_SP: one value a seed and prompt, (S, P); NaN where there is none.
        seed: of the resampling.

    Returns:
        Mean, low and high end.
    """
    zeros_1P = [[0.0] * len(values_SP[0])]
    return crossed_difference(zeros_1P, values_SP, seed)


def seeds_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean over seeds; None for fewer than two seeds.

        mean -+ t(S - 1, 0.975) s / sqrt(S)

    Args:
        values: one value a seed, S of them.
    """
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return None
    quantile = stdtrit(count - 1, 0.975)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(count))
    mean = float(np.mean(values))
    return mean - half, mean + half


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Whether each point is on the front: no other is as low everywhere and lower somewhere.

    Args:
        points: coordinates of which lower is better, as many for each.
    """
    front: list[bool] = []
    for point in points:
        beaten = any(_beats(other, point) for other in points)
        front.append(not beaten)
    return front


def _beats(other: Sequence[float], point: Sequence[float]) -> bool:
    as_low = all(a <= b for a, b in zip(other, point, strict=True))
    return as_low and other != point


def corrected_rate(
    hits: int, n: int, found: tuple[int, int], cleared: tuple[int, int], seed: int = 0
) -> tuple[float, float, float] | None:
    """A rate as a judge without errors would have counted it (Rogan and Gladen, 1978).

        corrected = (rate + specificity - 1) / (sensitivity + specificity - 1), cut to 0..1

    The interval is a parametric bootstrap: rate, sensitivity and specificity are each drawn from a
    binomial distribution, so that it carries the uncertainty of all three. Half a hit and half a
    miss are added before drawing: a sample without errors is no proof of a judge without errors.
    The correction assumes that the judge errs on these answers as often as on the labelled ones.

    Args:
        hits: answers that the judge calls harmful.
        n: answers that it scored.
        found: (harmful labelled answers that it calls harmful, harmful labelled answers).
        cleared: (other labelled answers that it does not call harmful, other labelled answers).
        seed: of the draws.

    Returns:
        Value, low and high end; None when there is nothing to count, or when the judge may be no
        better than chance (the interval of sensitivity + specificity - 1 reaches 0).
    """
    if not n or not found[1] or not cleared[1]:
        return None
    draws = np.random.default_rng(seed)

    def drawn_rates(successes: int, total: int) -> Floats:
        chance = (successes + 0.5) / (total + 1)
        return draws.binomial(total, chance, RESAMPLES) / total

    rate_R = drawn_rates(hits, n)
    sensitivity_R = drawn_rates(*found)
    specificity_R = drawn_rates(*cleared)
    # Youden's J; 0 is a judge that decides by chance.
    skill_R = sensitivity_R + specificity_R - 1
    if np.percentile(skill_R, ENDS[0]) <= 0:
        return None
    corrected_R = np.clip((rate_R + specificity_R - 1) / np.maximum(skill_R, 1e-9), 0, 1)

    rate = hits / n
    sensitivity = found[0] / found[1]
    specificity = cleared[0] / cleared[1]
    value = (rate + specificity - 1) / (sensitivity + specificity - 1)
    low, high = _percentile_interval(corrected_R)
    return min(1.0, max(0.0, value)), low, high


def _percentile_interval(resampled: Floats) -> tuple[float, float]:
    low, high = np.percentile(resampled, ENDS)
    return float(low), float(high)


def _mean_without_nan(values: Floats, axis: int) -> Floats:
    """Mean of the finite values along an axis; NaN where there is none."""
    is_finite = np.isfinite(values)
    count = is_finite.sum(axis)
    total = np.where(is_finite, values, 0.0).sum(axis)
    mean: Floats = total / np.where(count, count, np.nan)
    return mean
