"""The strength: chosen on validation prompts, on the trained vectors alone, without retraining."""

from dataclasses import dataclass, replace
from typing import Any

from skunlearn.data.examples import Split
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import EvaluateOptions, Evaluation, evaluate
from skunlearn.evaluation.gates import GateOptions, check_costs, known
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, RETAIN_KL
from skunlearn.evaluation.metrics.likelihood import kl_score, nll_score, row_likelihoods
from skunlearn.models.lm import LM
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress


@dataclass(frozen=True)
class EditOptions:
    """The strength of the edit.

    Attributes:
        alpha: fixed strength, 0 or more; chosen among `alphas` when not given.
        alphas: strengths to try, 0 or more, ascending.
        forget: validation prompts for each strength.
        retain: ordinary validation examples for each strength.
        lookalike: look-alikes for each strength.
        max_new_tokens: where their answers are cut.
        filters: make the method's vector more selective, one after the other; a name, or {"name":
            ..., option: value}.
    """

    alpha: float | None = None
    alphas: tuple[float, ...] = (0.75, 1.0)
    forget: int = 36
    retain: int = 30
    lookalike: int = 30
    max_new_tokens: int = 32
    filters: tuple[dict[str, Any] | str, ...] = ()

    def __post_init__(self) -> None:
        if not self.alphas and self.alpha is None:
            raise ConfigError("edit.alphas is empty: give strengths to try, or one as edit.alpha")
        for name in ("forget", "retain", "lookalike", "max_new_tokens"):
            least = 0 if name == "lookalike" else 1
            if (count := getattr(self, name)) < least:
                raise ConfigError(f"edit.{name}={count}: give {least} or more")
        for alpha in (*self.alphas, *([] if self.alpha is None else [self.alpha])):
            if not 0 <= alpha < float("inf"):
                raise ConfigError(
                    f"edit.alpha: {alpha} is refused: a negative strength would make the harmful model; give 0 or more"
                )


@dataclass(frozen=True)
class StrengthTrial:
    """What one strength does to the validation prompts.

    Attributes:
        alpha: the strength.
        scores: what was measured; generation is left out where likelihood alone already broke a
            gate.
        within: every gate on costs is met with its margin.
    """

    alpha: float
    scores: dict[str, Score]
    within: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "alpha": self.alpha,
            "within": self.within,
            "scores": {k: v.as_dict() for k, v in self.scores.items()},
        }


def choose_strength(
    lm: LM,
    edit: TaskVector,
    part: Split,
    options: EditOptions,
    gates: GateOptions,
    evaluation: EvaluateOptions,
    *,
    name: str,
    store: CompletionStore,
    progress: Progress,
    max_length: int = 256,
) -> tuple[float, list[StrengthTrial]]:
    """The strength with the lowest harmful rate among those that meet every gate on costs with a
    margin.

    Likelihood comes first, since it is cheap; answers are generated only where it leaves a chance.
    When no strength meets the gates the smallest one is taken, and the gates on the test prompts
    will say what it is worth.

    Args:
        lm: the base.
        edit: the vector that strength 1 adds (already with the method's sign).
        part: the validation part.
        options: which strengths, how many prompts.
        gates: the limits.
        evaluation: the judge.
        name: of the vector, for the store.
        store: completions known already.
        progress: is told of each strength.
        max_length: tokens of a retain row.
    """
    small = validation_options(evaluation, options)
    base = evaluate(lm, part, small, max_length=max_length, store=store, progress=progress)
    points: list[StrengthTrial] = [StrengthTrial(0.0, base.scores, True)]
    for alpha in sorted({*options.alphas} - {0.0}):
        with lm.edited(alpha * edit):
            weights = f"{name}*{alpha:g}"
            point = _point(
                lm, part, small, base, gates, alpha, weights, max_length, store, progress
            )
        points.append(point)
        progress.note(_line(point))
        if (
            point.scores["retain_kl"].value is None
            or (point.scores["retain_kl"].value or 0) > 4 * gates.retain_kl
        ):
            break  # far out: stronger edits only do more of it
    return best(points).alpha, points


def validation_options(evaluation: EvaluateOptions, options: EditOptions) -> EvaluateOptions:
    """How much of the validation part is evaluated for each strength."""
    return replace(
        evaluation,
        forget=options.forget,
        retain=options.retain,
        lookalike=options.lookalike,
        seen=0,
        paraphrase=0,
        samples=0,
        lookalike_file=None,
        metrics=("rates", "likelihood"),
        lm_eval=(),
        max_new_tokens=options.max_new_tokens,
    )


def _point(
    lm: LM,
    part: Split,
    small: EvaluateOptions,
    base: Evaluation,
    gates: GateOptions,
    alpha: float,
    weights: str,
    max_length: int,
    store: CompletionStore,
    progress: Progress,
) -> StrengthTrial:
    likelihoods = row_likelihoods(lm.model, base.subject.encoded("retain"), base.subject.reference)
    cheap = {"retain_nll": nll_score(likelihoods), "retain_kl": kl_score(likelihoods)}
    if not all(gate.passed for gate in check_costs(base.scores, cheap, gates)):
        return StrengthTrial(alpha, cheap, False)
    asked = replace(small, metrics=("rates",))
    full = evaluate(
        lm,
        part,
        asked,
        base=base,
        max_length=max_length,
        weights=weights,
        store=store,
        progress=progress,
    )
    scores = cheap | full.scores
    within = all(gate.passed for gate in check_costs(base.scores, scores, gates, gates.margin))
    return StrengthTrial(alpha, scores, within)


def best(points: list[StrengthTrial]) -> StrengthTrial:
    """Lowest harmful rate among the strengths within the gates; of equals the one with the lower
    mean probability of harm, which tells apart what a few dozen yes-or-no answers cannot, then the
    weaker one. Of strengths of which none is within it is the smallest, and 0 where no other was
    tried."""
    within = [point for point in points[1:] if point.within]
    if not within:
        return points[1] if len(points) > 1 else points[0]

    def harm(point: StrengthTrial) -> tuple[float, float, float]:
        rate, mean = (
            known(point.scores, n) for n in (HARMFUL_UNSEEN, "harmful_probability_unseen")
        )
        return 1.0 if rate is None else rate, 1.0 if mean is None else mean, point.alpha

    return min(within, key=harm)


def _line(point: StrengthTrial) -> str:
    shown = (HARMFUL_UNSEEN, "degenerate_rate_unseen", RETAIN_KL)
    values = ", ".join(
        f"{name} {score.value:.3f}"
        for name, score in point.scores.items()
        if name in shown and score.value is not None
    )
    return f"alpha {point.alpha:g}: {values}{'' if point.within else '  (outside the gates)'}"
