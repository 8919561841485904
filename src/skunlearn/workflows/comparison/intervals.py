"""Intervals of rates over the prompts and seeds of a comparison.

- A rate has a bootstrap over prompts and seeds, at least as wide as Wilson's interval.
- A difference of two rates has a paired bootstrap over prompts and seeds, or Newcombe's interval
  where the bootstrap has no width.
- Any other number has Student's t interval over seeds.
"""

from collections.abc import Sequence

import numpy as np

from skunlearn.evaluation.metrics.catalog import Metric
from skunlearn.evaluation.statistics import (
    crossed_difference,
    crossed_mean,
    newcombe,
    seeds_interval,
    wilson,
)
from skunlearn.utils.files import JsonDict

Interval = tuple[float, float]  # low and high end
Hits = dict[str, float]  # of one run: prompt -> 1, 0, or NaN for an unscored answer


def all_hits(runs: Sequence[JsonDict], side: str, metric: Metric) -> list[Hits]:
    """Which answers of each run count for a rate.

    Args:
        runs: their results.
        side: "base" or "edited".
        metric: the rate, with the prompts that it is about and the labels that count.
    """
    found = []
    for run in runs:
        hits: Hits = {}
        for row in run["transcripts"]:
            if row["group"] == metric.group:
                label = row[side]["label"]
                hit = float("nan") if label is None else float(label in metric.labels)
                hits[row["prompt"]] = hit
        found.append(hits)
    return found


def measured(values: Sequence[float | None]) -> list[float]:
    """The values without None."""
    return [value for value in values if value is not None]


def rate_interval(values: Sequence[float | None], hits: Sequence[Hits]) -> Interval | None:
    """The interval of a rate: a bootstrap over prompts and seeds, or Wilson's where it is wider.

    If all answers have the same label, the bootstrap has no width; then Wilson's interval of the
    mean rate, on as many prompts, shows how little is known.

    Args:
        values: the rate of each run.
        hits: the answers of each run.
    """
    known = measured(values)
    if not known or not hits[0]:
        return None
    prompts = 0  # those that have a scored answer in some run
    for prompt in hits[0]:
        prompts += any(np.isfinite(row[prompt]) for row in hits)
    answers_SP = []
    for row in hits:
        answers_SP.append(list(row.values()))
    _, low, high = crossed_mean(answers_SP)
    successes = round(float(np.mean(known)) * prompts)
    wilson_low, wilson_high = wilson(successes, prompts)
    return min(low, wilson_low), max(high, wilson_high)


def interval_over_seeds(values: Sequence[float | None]) -> Interval | None:
    """Student's t interval of the mean over the runs, cut at 0, below which none of these can be.

    None for fewer than two measured values.
    """
    interval = seeds_interval(measured(values))
    if interval is None:
        return None
    low, high = interval
    return max(0.0, low), high


def rate_difference(before: Sequence[Hits], after: Sequence[Hits]) -> JsonDict | None:
    """The difference of one rate with its interval; None where it cannot be computed.

    Args:
        before: the answers of each run of the first entry.
        after: the answers of each run of the other entry, to the same prompts.
    """
    prompts = list(before[0])
    before_SP = _answers(before, prompts)
    after_SP = _answers(after, prompts)
    value, low, high = crossed_difference(before_SP, after_SP)
    if low == high:
        # Where no answer changed, or all changed alike, the bootstrap has no width. Newcombe's
        # interval is of the first run of each, on the prompts with a label on both sides.
        pair_2P = np.array([before_SP[0], after_SP[0]])
        labelled_P = np.isfinite(pair_2P).all(axis=0)
        low, high = newcombe(*pair_2P[:, labelled_P].tolist())
    if not np.isfinite([value, low, high]).all():
        return None
    return {"value": value, "low": low, "high": high, "n": len(prompts)}


def _answers(hits: Sequence[Hits], prompts: Sequence[str]) -> list[list[float]]:
    """The answers of each run to some prompts, (S, P)."""
    return [list(map(row.__getitem__, prompts)) for row in hits]
