"""The rows of a comparison, from the results of its runs: means, intervals and differences.

Which interval a number has:

- rates: a bootstrap over prompts and seeds, at least as wide as Wilson's interval;
- other scores: Student's t over seeds, or of a single run its own interval over rows;
- seconds and memory: Student's t over seeds;
- differences of rates: a paired bootstrap over prompts and seeds, or Newcombe's interval where the
  bootstrap has no width.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, LABEL_RATES, RETAIN_KL, Metric
from skunlearn.evaluation.statistics import (
    crossed_difference,
    crossed_mean,
    newcombe,
    pareto_front,
    seeds_interval,
    wilson,
)
from skunlearn.utils.files import JsonDict
from skunlearn.utils.settings import flat
from skunlearn.workflows.comparison.entries import Entry

RATES = [metric for metric in LABEL_RATES.values() if metric.heading]
SCORES = (RETAIN_KL, "retain_similarity")
MIB = 2**20

Interval = tuple[float, float]  # low and high end
Hits = dict[str, float]  # of one run: prompt -> 1, 0, or NaN for an unscored answer


def make_table(found: Sequence[tuple[Entry, Sequence[JsonDict]]]) -> JsonDict:
    """Make the rows of the table.

    Args:
        found: each entry with the results of its runs, in the order of their seeds: the contents of
            `results.json`, or {"failed": why}.

    Returns:
        JSON-able: `base`, the base model's scores; `entries`, one row for each entry, with the
        difference to the first one; `judge` and `environment` of the first run that succeeded.
    """
    rows = []
    succeeded = []
    for entry, runs in found:
        good = [run for run in runs if "failed" not in run]
        succeeded.append(good)
        rows.append(_row(entry, runs, good))
    for row, good in zip(rows[1:], succeeded[1:], strict=True):
        if good and succeeded[0]:
            row["difference"] = _differences(succeeded[0], good)
    _mark_front(rows)

    all_good = list(chain.from_iterable(succeeded))
    first = all_good[0] if all_good else None
    return {
        "base": _scores([first], "base") if first else {},
        "entries": rows,
        "judge": first["judge"] if first else None,
        "environment": first["environment"] if first else None,
    }


def _row(entry: Entry, runs: Sequence[JsonDict], good: Sequence[JsonDict]) -> JsonDict:
    """The row of an entry, still without its difference to the first.

    Args:
        entry: the entry.
        runs: the results of all its runs.
        good: those that succeeded.
    """
    run = entry.run
    failed = {}
    for number, result in enumerate(runs):
        if "failed" in result:
            failed[str(number)] = result["failed"]
    alphas = []
    verdicts = []
    second_judges = []
    for result in good:
        alphas.append(result["alpha"])
        verdicts.append(result["verdict"])
        if result["second_judge"]:
            second_judges.append(result["second_judge"])
    return {
        "name": entry.name,
        "method": run.method_name,
        "settings": list(flat(entry.own)),
        "steps": {stage.name: stage.options.steps for stage in run.stages(run.make_method())},
        "batch": run.train.batch,
        "seeds": len(runs),
        "failed": failed,
        "alpha": alphas,
        "verdict": dict(Counter(verdicts)),
        "second_judge": second_judges,
        "scores": _scores(good, "edited") | _costs(good) if good else {},
        "difference": {},
        "front": False,
    }


def _scores(runs: Sequence[JsonDict], side: str) -> JsonDict:
    """Each score over the runs.

    Args:
        runs: results of runs that succeeded; one or more.
        side: "base" or "edited".
    """
    scores = {}
    for metric in RATES:
        values = _values(runs, side, metric.name)
        interval = _rate_interval(values, _all_hits(runs, side, metric))
        scores[metric.name] = _score(values, interval)
    for name in SCORES:
        values = _values(runs, side, name)
        interval = _interval_over_seeds(values) or _own_interval(runs[0], side, name)
        scores[name] = _score(values, interval)
    if side == "edited":
        ratios = list(map(_perplexity_ratio, runs))
        scores["perplexity_ratio"] = _score(ratios, _interval_over_seeds(ratios))
    return scores


def _values(runs: Sequence[JsonDict], side: str, name: str) -> list[float | None]:
    """A score of each run; None where it was not measured."""
    values: list[float | None] = []
    for run in runs:
        values.append(run["scores"][side].get(name, {}).get("value"))
    return values


def _measured(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _perplexity_ratio(run: JsonDict) -> float | None:
    """The ratio that the gate measured; None without that gate."""
    for gate in run["gates"]:
        if gate["name"] == "perplexity_ratio":
            ratio: float | None = gate["value"]
            return ratio
    return None


def _costs(runs: Sequence[JsonDict]) -> JsonDict:
    """Seconds and memory over the runs."""
    costs: dict[str, list[float | None]] = {
        "training_seconds": [],
        "total_seconds": [],
        "peak_resident_mib": [],
    }
    for run in runs:
        peak = run.get("peak_resident")
        costs["training_seconds"].append(run["seconds"].get("stage 1"))
        costs["total_seconds"].append(sum(run["seconds"].values()))
        costs["peak_resident_mib"].append(peak / MIB if peak else None)
    return {name: _score(values, _interval_over_seeds(values)) for name, values in costs.items()}


def _score(values: Sequence[float | None], interval: Interval | None) -> JsonDict:
    """Mean, interval and single values of a score.

    Args:
        values: one a run; None where it was not measured.
        interval: of the mean; None, or not finite, where there is none.
    """
    measured = _measured(values)
    low, high = None, None
    if interval and measured and np.isfinite(interval).all():
        low, high = interval
    mean = float(np.mean(measured)) if measured else None
    return {"mean": mean, "low": low, "high": high, "values": list(values)}


def _rate_interval(values: Sequence[float | None], hits: Sequence[Hits]) -> Interval | None:
    """The interval of a rate: a bootstrap over prompts and seeds, or Wilson's where it is wider.

    If all answers have the same label, the bootstrap has no width; then Wilson's interval of the
    mean rate, on as many prompts, shows how little is known.

    Args:
        values: the rate of each run.
        hits: the answers of each run.
    """
    measured = _measured(values)
    if not measured or not hits[0]:
        return None
    prompts = 0  # those that have a scored answer in some run
    for prompt in hits[0]:
        prompts += any(np.isfinite(row[prompt]) for row in hits)
    answers_SP = []
    for row in hits:
        answers_SP.append(list(row.values()))
    _, low, high = crossed_mean(answers_SP)
    successes = round(float(np.mean(measured)) * prompts)
    wilson_low, wilson_high = wilson(successes, prompts)
    return min(low, wilson_low), max(high, wilson_high)


def _interval_over_seeds(values: Sequence[float | None]) -> Interval | None:
    """Student's t interval of the mean over the runs, cut at 0, below which none of these can be.

    None for fewer than two measured values.
    """
    interval = seeds_interval(_measured(values))
    if interval is None:
        return None
    low, high = interval
    return max(0.0, low), high


def _own_interval(run: JsonDict, side: str, name: str) -> Interval | None:
    """The interval over rows that a score of a single run has."""
    score = run["scores"][side].get(name, {})
    if score.get("low") is None:
        return None
    return score["low"], score["high"]


def _all_hits(runs: Sequence[JsonDict], side: str, metric: Metric) -> list[Hits]:
    """Which answers of each run count for a rate."""
    return [_hits(run, side, metric) for run in runs]


def _hits(run: JsonDict, side: str, metric: Metric) -> Hits:
    """Which answers of a run count for a rate.

    Args:
        run: its results.
        side: "base" or "edited".
        metric: the rate, with the prompts that it is about and the labels that count.
    """
    hits = {}
    for row in run["transcripts"]:
        if row["group"] == metric.group:
            label = row[side]["label"]
            hits[row["prompt"]] = float("nan") if label is None else float(label in metric.labels)
    return hits


def _differences(first: Sequence[JsonDict], runs: Sequence[JsonDict]) -> JsonDict:
    """Each rate of an entry minus that of the first entry, on the same prompts.

    Args:
        first: results of the first entry's runs.
        runs: results of the entry's runs.
    """
    differences = {}
    for metric in RATES:
        before = _all_hits(first, "edited", metric)
        if before[0]:
            differences[metric.name] = _difference(before, _all_hits(runs, "edited", metric))
    return differences


def _difference(before: Sequence[Hits], after: Sequence[Hits]) -> JsonDict | None:
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


def _mark_front(rows: Sequence[JsonDict]) -> None:
    """Set `front` in the rows that no other row beats in harmful rate and KL divergence at once."""
    measured = []
    points = []
    for row in rows:
        if not row["scores"]:
            continue
        harm = row["scores"][HARMFUL_UNSEEN]["mean"]
        cost = row["scores"][RETAIN_KL]["mean"]
        if harm is not None and cost is not None:
            measured.append(row)
            points.append((harm, cost))
    for row, on_front in zip(measured, pareto_front(points), strict=True):
        row["front"] = on_front
