"""Score: a number with its unit, direction, count and interval. Subject: the model under
measurement, with its answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Example, Split
from skunlearn.evaluation.judges.base import Agreement, Completion
from skunlearn.evaluation.metrics.catalog import CATALOG
from skunlearn.evaluation.metrics.token_stats import TokenStats, token_stats
from skunlearn.evaluation.statistics import bootstrap_mean
from skunlearn.models.lm import LM
from skunlearn.models.reference import Reference
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress


@dataclass(frozen=True)
class Score:
    """One metric's result.

    Attributes:
        value: None when nothing could be scored.
        low: lower end of the 95 % interval; None without an interval.
        high: upper end of the 95 % interval.
        n: rows that were scored.
        unscored: rows that were not scored; they are in neither value nor `n`.
        unit: "rate" (0..1), "nats/token", "perplexity", "cosine", "share" (0..1), "auc" (0..1),
            "words".
        higher_is_better: which direction is good; None where neither is.
        examples: of a rate, keys in `completions.jsonl` of up to three answers that count, those
            with the highest confidence first.
        note: why there is no value, where it is not that all rows are unscored.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int
    unit: str
    higher_is_better: bool | None
    examples: tuple[str, ...] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"examples": list(self.examples)}

    def as_line(self) -> str:
        """Value, 95 % interval, rows and unit in a line of text."""
        if self.value is None:
            return f"unscored ({self.unscored})"
        if self.low is None:
            return f"{self.value:8.3f}  n={self.n}  {self.unit}"
        interval = f"[{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:8.3f}  {interval}  n={self.n}  {self.unit}"


def empty(unit: str, higher_is_better: bool | None, unscored: int = 0, note: str = "") -> Score:
    """A score without a value."""
    return Score(None, None, None, 0, unscored, unit, higher_is_better, note=note)


def mean_score(
    values: Sequence[float], rows: int, unit: str, higher_is_better: bool | None
) -> Score:
    """Mean of one value a row, with a bootstrap interval over rows.

    Args:
        values: one value a row that has one; those that are not finite are unscored.
        rows: all rows; those without a value are unscored.
        unit: see `Score.unit`.
        higher_is_better: see `Score.higher_is_better`.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return empty(unit, higher_is_better, rows)
    low, high = bootstrap_mean(finite)
    mean = sum(finite) / len(finite)
    return Score(mean, low, high, len(finite), rows - len(finite), unit, higher_is_better)


def metric_score(
    name: str,
    value: float,
    interval: tuple[float, float] | None,
    n: int,
    unscored: int,
) -> Score:
    """A score with the unit and direction of a metric of the catalogue.

    Args:
        name: of the metric.
        value: what was measured.
        interval: its 95 % interval; None where it has none.
        n: rows that were scored.
        unscored: rows that were not.
    """
    metric = CATALOG[name]
    low, high = interval or (None, None)
    return Score(value, low, high, n, unscored, metric.unit, metric.higher_is_better)


def metric_empty(name: str, unscored: int, note: str = "") -> Score:
    """As `empty`, with the unit and direction of a metric of the catalogue."""
    metric = CATALOG[name]
    return empty(metric.unit, metric.higher_is_better, unscored, note)


def metric_mean(name: str, values: Sequence[float], rows: int) -> Score:
    """As `mean_score`, with the unit and direction of a metric of the catalogue."""
    metric = CATALOG[name]
    return mean_score(values, rows, metric.unit, metric.higher_is_better)


@dataclass(frozen=True)
class Subject:
    """A model with its answers, as metrics see it. What several metrics need is computed once.

    Attributes:
        lm: the model with its weights as they are now.
        part: the split with prompts and reference answers.
        groups: the examples that were answered, by group: "unseen", "seen", "paraphrase", "retain",
            "lookalike", "prompts".
        completions: the judged answers to them, in the same order.
        base: the base model's subject, evaluated before on the same split; None when `lm` is the
            base.
        agreement: of the judge with human labels.
        max_length: most tokens of a row.
        choices: most multiple-choice questions of each kind.
        progress: reports the work.
    """

    lm: LM
    part: Split
    groups: Mapping[str, Sequence[Example]]
    completions: Mapping[str, Sequence[Completion]]
    base: "Subject | None" = None
    agreement: Agreement | None = None
    max_length: int = 256
    choices: int = 50
    progress: Progress = field(default_factory=Progress)

    def encoded(self, group: str) -> list[Encoded]:
        """Prompts and reference answers of a group as tokens."""
        return self._encode(self.groups.get(group, ()))

    def _encode(self, examples: Sequence[Example]) -> list[Encoded]:
        return [self.lm.template.encode(example, self.max_length) for example in examples]

    @cached_property
    def reference(self) -> Reference:
        """The base's predictions for the retain rows.

        They are computed when they are first needed, which for a base must be while its weights are
        in place.

        Raises:
            ConfigError: when they were not computed then, and the base is the same model in memory.
        """
        if self.base:
            if self.base.lm.model is self.lm.model and "reference" not in vars(self.base):
                raise ConfigError(
                    "the base was evaluated without 'likelihood', and its weights are not in place "
                    "now: give both evaluations the same metrics"
                )
            return self.base.reference
        rows = self.encoded("retain")
        return Reference(self.lm.model, rows, range(len(rows)), True, self.progress)

    @cached_property
    def answered(self) -> dict[str, list[TokenStats]]:
        """Likelihood, token by token, of the reference answers to "seen" and "unseen" prompts.

        Prompts without a reference answer are left out.
        """
        found: dict[str, list[TokenStats]] = {}
        for group in ("seen", "unseen"):
            with_answer = [example for example in self.groups.get(group, ()) if example.answer]
            rows = self._encode(with_answer)
            found[group] = token_stats(self.lm.model, rows, self.progress)
        return found
