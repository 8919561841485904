"""Score: a number that carries its unit, direction, count and interval. Subject: the model that
metrics look at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Example, Split
from skunlearn.evaluation.judges.base import Agreement, Completion
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
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        n: rows that were scored.
        unscored: rows that were not, which count neither way.
        unit: "rate" (0..1), "nats/token", "perplexity", "cosine", "share" (0..1), "auc" (0..1),
            "words".
        higher_is_better: which way is good; None where neither is.
        examples: of a rate, keys in `completions.jsonl` of up to three answers that count, the
            surest first.
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


def empty(unit: str, higher_is_better: bool | None, unscored: int = 0, note: str = "") -> Score:
    """The score of nothing."""
    return Score(None, None, None, 0, unscored, unit, higher_is_better, note=note)


def mean_score(
    values: Sequence[float], rows: int, unit: str, higher_is_better: bool | None
) -> Score:
    """Mean of one value a row, rows bootstrapped; values that are not finite, and rows without one,
    are unscored."""
    good = [value for value in values if math.isfinite(value)]
    if not good:
        return empty(unit, higher_is_better, rows)
    return Score(
        sum(good) / len(good),
        *bootstrap_mean(good),
        len(good),
        rows - len(good),
        unit,
        higher_is_better,
    )


@dataclass(frozen=True)
class Subject:
    """A model with its answers, as metrics see it. What several metrics need is computed once.

    Attributes:
        lm: the model, with its weights as they are now.
        part: prompts and reference answers.
        groups: the examples that were asked, by group: "unseen", "seen", "paraphrase", "retain",
            "lookalike".
        completions: the judged answers to them, in the same order.
        base: what `lm` was made from, evaluated before on the same part; None when `lm` is the
            base.
        agreement: of the judge with people.
        max_length: tokens of a row.
        choices: most multiple-choice questions of each kind.
        progress: is told of the work.
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
        return [
            self.lm.template.encode(example, self.max_length)
            for example in self.groups.get(group, ())
        ]

    @cached_property
    def reference(self) -> Reference:
        """The base's predictions of the retain rows; a base must be asked while its weights are in
        place."""
        if self.base:
            if self.base.lm.model is self.lm.model and "reference" not in vars(self.base):
                raise ConfigError(
                    "the base was evaluated without 'likelihood', and its weights are not in place now: give both "
                    "evaluations the same metrics"
                )
            return self.base.reference
        rows = self.encoded("retain")
        return Reference(self.lm.model, rows, range(len(rows)), True, self.progress)

    @cached_property
    def answered(self) -> dict[str, list[TokenStats]]:
        """Token by token likelihood of the reference answers to trained and to unseen harmful
        prompts."""
        with_answer = {
            group: [example for example in self.groups.get(group, ()) if example.answer]
            for group in ("seen", "unseen")
        }
        return {
            group: token_stats(
                self.lm.model,
                [self.lm.template.encode(e, self.max_length) for e in examples],
                self.progress,
            )
            for group, examples in with_answer.items()
        }
