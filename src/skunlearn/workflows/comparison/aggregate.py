"""The rows of a comparison, from the results of its runs: means, intervals and differences."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, LABEL_RATES, RETAIN_KL
from skunlearn.evaluation.statistics import pareto_front
from skunlearn.utils.files import JsonDict
from skunlearn.utils.settings import flat
from skunlearn.workflows.comparison.entries import Entry
from skunlearn.workflows.comparison.intervals import (
    Interval,
    all_hits,
    interval_over_seeds,
    measured,
    rate_difference,
    rate_interval,
)

RATES = [metric for metric in LABEL_RATES.values() if metric.heading]
SCORES = (RETAIN_KL, "retain_similarity")
MIB = 2**20


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
        interval = rate_interval(values, all_hits(runs, side, metric))
        scores[metric.name] = _score(values, interval)
    for name in SCORES:
        values = _values(runs, side, name)
        interval = interval_over_seeds(values) or _own_interval(runs[0], side, name)
        scores[name] = _score(values, interval)
    if side == "edited":
        ratios = list(map(_perplexity_ratio, runs))
        scores["perplexity_ratio"] = _score(ratios, interval_over_seeds(ratios))
    return scores


def _values(runs: Sequence[JsonDict], side: str, name: str) -> list[float | None]:
    """A score of each run; None where it was not measured."""
    values: list[float | None] = []
    for run in runs:
        values.append(run["scores"][side].get(name, {}).get("value"))
    return values


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
    return {name: _score(values, interval_over_seeds(values)) for name, values in costs.items()}


def _score(values: Sequence[float | None], interval: Interval | None) -> JsonDict:
    """Mean, interval and single values of a score.

    Args:
        values: one a run; None where it was not measured.
        interval: of the mean; None, or not finite, where there is none.
    """
    known = measured(values)
    low, high = None, None
    if interval and known and np.isfinite(interval).all():
        low, high = interval
    mean = float(np.mean(known)) if known else None
    return {"mean": mean, "low": low, "high": high, "values": list(values)}


def _own_interval(run: JsonDict, side: str, name: str) -> Interval | None:
    """The interval over rows that a score of a single run has."""
    score = run["scores"][side].get(name, {})
    if score.get("low") is None:
        return None
    return score["low"], score["high"]


def _differences(first: Sequence[JsonDict], runs: Sequence[JsonDict]) -> JsonDict:
    """Each rate of an entry minus that of the first entry, on the same prompts.

    Args:
        first: results of the first entry's runs.
        runs: results of the entry's runs.
    """
    differences = {}
    for metric in RATES:
        before = all_hits(first, "edited", metric)
        if before[0]:
            differences[metric.name] = rate_difference(before, all_hits(runs, "edited", metric))
    return differences


def _mark_front(rows: Sequence[JsonDict]) -> None:
    """Set `front` in the rows that no other row beats in harmful rate and KL divergence at once."""
    compared = []
    points = []
    for row in rows:
        if not row["scores"]:
            continue
        harm = row["scores"][HARMFUL_UNSEEN]["mean"]
        cost = row["scores"][RETAIN_KL]["mean"]
        if harm is not None and cost is not None:
            compared.append(row)
            points.append((harm, cost))
    for row, on_front in zip(compared, pareto_front(points), strict=True):
        row["front"] = on_front
