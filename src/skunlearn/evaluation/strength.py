"""The strength of an edit, chosen on the validation prompts; nothing is retrained for it.

Measuring a strength has two steps of very different cost. The likelihood of ordinary answers is one
forward pass. Generated answers take minutes. `TwoStepEvaluation` is the pair of them: a strength
whose likelihood is outside the gates never gets to the second step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skunlearn.data.examples import Split
from skunlearn.evaluation.evaluator import Evaluator
from skunlearn.evaluation.gates import GateOptions, check_costs, known
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.catalog import (
    HARMFUL_UNSEEN,
    HARMFUL_WORDINGS,
    RETAIN_KL,
    RETAIN_NLL,
)
from skunlearn.evaluation.metrics.likelihood import kl_score, nll_score, row_likelihoods
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked_as

# The search stops at a strength with this many times the KL that the gate allows.
FAR_OUTSIDE = 4
SHOWN = (HARMFUL_UNSEEN, "degenerate_rate_unseen", RETAIN_KL)  # in the line on a strength


@dataclass(frozen=True)
@checked_as("edit")
class EditOptions:
    """The strength of the edit.

    Attributes:
        alpha: fixed strength, 0 or more; chosen among `alphas` when not given.
        alphas: strengths to try, 0 or more, ascending.
        forget: validation prompts for each strength.
        retain: ordinary validation examples for each strength.
        lookalike: look-alikes for each strength.
        wordings: validation prompts in each of the built-in wordings for each strength, as
            `evaluate.wordings`.
        max_new_tokens: most tokens of their answers.
        filters: make the method's vector more selective, one after the other; a name, or {"name":
            ..., option: value}.
    """

    alpha: float | None = None
    alphas: tuple[float, ...] = (0.5, 0.65, 0.8, 1.0)
    forget: int = 36
    retain: int = 30
    lookalike: int = 30
    wordings: int = 2
    max_new_tokens: int = 32
    filters: tuple[dict[str, Any] | str, ...] = ()

    def __post_init__(self) -> None:
        if not self.alphas and self.alpha is None:
            raise ConfigError("edit.alphas is empty: give strengths to try, or one as edit.alpha")
        minimum = {"forget": 1, "retain": 1, "lookalike": 0, "wordings": 0, "max_new_tokens": 1}
        for name, number in minimum.items():
            count = getattr(self, name)
            if count < number:
                raise ConfigError(f"edit.{name}={count}: give {number} or more")
        fixed = () if self.alpha is None else (self.alpha,)
        for alpha in (*self.alphas, *fixed):
            if not 0 <= alpha < float("inf"):
                raise ConfigError(
                    f"edit.alpha: {alpha} is refused: a negative strength would make the harmful "
                    "model; give 0 or more"
                )


@dataclass(frozen=True)
class StrengthTrial:
    """What one strength does on the validation prompts.

    Attributes:
        alpha: the strength.
        scores: what was measured; without the rates where likelihood alone already failed a gate.
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
            "scores": {name: score.as_dict() for name, score in self.scores.items()},
        }


class TwoStepEvaluation:
    """Measures edited weights in two steps: likelihood first, answers only where they may pass.

    Both steps measure the weights that are in place when they are called, so they belong inside a
    block of `LM.edited`. The caller decides between them:

        with lm.edited(edit):
            scores = steps.likelihood_scores()
            if steps.meets_gates(scores):
                scores |= steps.answer_scores(weights)

    Args:
        evaluator: its options say how many prompts are used; see `validation_options`. The weights
            of the base must be in place, since the base is evaluated at once.
        split: the validation split.
        gates: the limits.

    Attributes:
        base: the evaluation of the base.
    """

    def __init__(self, evaluator: Evaluator, split: Split, gates: GateOptions) -> None:
        self.evaluator = evaluator
        self.split = split
        self.gates = gates
        self.base = evaluator.evaluate(split)

    def likelihood_scores(self) -> dict[str, Score]:
        """Step 1: NLL and KL on the retain answers, by one forward pass over them."""
        subject = self.base.subject
        rows = row_likelihoods(
            self.evaluator.lm.model, subject.encoded("retain"), subject.reference
        )
        return {RETAIN_NLL: nll_score(rows), RETAIN_KL: kl_score(rows)}

    def answer_scores(self, weights: str) -> dict[str, Score]:
        """Step 2: the rates of the generated answers.

        Args:
            weights: a name for the weights as they are now, for the store.
        """
        rates_only = replace(self.evaluator.options, metrics=("rates",))
        evaluator = replace(self.evaluator, options=rates_only)
        return evaluator.evaluate(self.split, self.base, weights).scores

    def meets_gates(self, scores: Mapping[str, Score], with_margin: bool = False) -> bool:
        """Whether every gate on costs that can be read from the scores is met.

        Args:
            scores: of step 1, or of both steps.
            with_margin: against the limits less the margin of the gates.
        """
        margin = self.gates.margin if with_margin else 0.0
        costs = check_costs(self.base.scores, scores, self.gates, margin)
        return all(gate.passed for gate in costs)


def choose_strength(
    evaluator: Evaluator,
    edit: TaskVector,
    split: Split,
    options: EditOptions,
    gates: GateOptions,
    name: str,
) -> tuple[float, list[StrengthTrial]]:
    """The strength with the lowest harmful rate among those that meet every gate on costs.

    The gates are applied with their margin. When no strength meets them the smallest one is taken;
    the gates on the test prompts will say what it is worth.

    Args:
        evaluator: of the base, with the options of the run; the base's weights are in place.
        edit: the vector that strength 1 adds, with the method's sign.
        split: the validation split.
        options: which strengths, how many prompts.
        gates: the limits.
        name: of the vector, for the store.

    Returns:
        The strength, and a trial for each strength that was tried; the first is the base (0).
    """
    small = validation_options(evaluator.options, options)
    evaluator = replace(evaluator, options=small)
    steps = TwoStepEvaluation(evaluator, split, gates)
    trials = [StrengthTrial(0.0, steps.base.scores, within=True)]
    for alpha in sorted({*options.alphas} - {0.0}):
        with evaluator.lm.edited(alpha * edit):
            trial = _try_strength(steps, alpha, weights=f"{name}*{alpha:g}")
        trials.append(trial)
        evaluator.progress.note(_line(trial))
        # Stronger edits move the predictions further, so there is nothing to find beyond.
        kl = trial.scores[RETAIN_KL].value
        if kl is None or kl > FAR_OUTSIDE * gates.retain_kl:
            break
    return best(trials).alpha, trials


def _try_strength(steps: TwoStepEvaluation, alpha: float, weights: str) -> StrengthTrial:
    scores = steps.likelihood_scores()
    if not steps.meets_gates(scores):
        return StrengthTrial(alpha, scores, within=False)
    scores |= steps.answer_scores(weights)
    return StrengthTrial(alpha, scores, steps.meets_gates(scores, with_margin=True))


def validation_options(evaluation: EvaluateOptions, options: EditOptions) -> EvaluateOptions:
    """How much is evaluated of the validation split for each strength.

    Args:
        evaluation: the options of the test evaluation; judge and temperature are taken from them.
        options: how many prompts, how long their answers.
    """
    return replace(
        evaluation,
        forget=options.forget,
        retain=options.retain,
        lookalike=options.lookalike,
        wordings=options.wordings,
        seen=0,
        paraphrase=0,
        samples=0,
        lookalike_file=None,
        metrics=("rates", "likelihood"),
        lm_eval=(),
        max_new_tokens=options.max_new_tokens,
    )


def best(trials: list[StrengthTrial]) -> StrengthTrial:
    """The trial with the lowest harmful rate among those within the gates.

    Of trials with the same rate the one with the lower mean probability of harm is taken: it
    distinguishes what a few dozen yes-or-no verdicts cannot. Then the weaker one. When none is
    within the gates it is the smallest strength, and the base when no other was tried.

    Args:
        trials: the base first, then the strengths, ascending.
    """
    within = [trial for trial in trials[1:] if trial.within]
    if within:
        return min(within, key=_harm)
    return trials[1] if len(trials) > 1 else trials[0]


def _harm(trial: StrengthTrial) -> tuple[float, float, float]:
    """Sort key of a trial, the least harmful first; what was not measured counts as 1.

    The rate is that of bare prompts, or the mean of it and the one in other wordings.
    """
    rate = known(trial.scores, HARMFUL_UNSEEN)
    in_wordings = known(trial.scores, HARMFUL_WORDINGS)
    if rate is not None and in_wordings is not None:
        rate = (rate + in_wordings) / 2
    mean = known(trial.scores, "harmful_probability_unseen")
    return (1.0 if rate is None else rate), (1.0 if mean is None else mean), trial.alpha


def _line(trial: StrengthTrial) -> str:
    values: list[str] = []
    for name, score in trial.scores.items():
        if name in SHOWN and score.value is not None:
            values.append(f"{name} {score.value:.3f}")
    line = f"alpha {trial.alpha:g}: {', '.join(values)}"
    return line if trial.within else f"{line}  (outside the gates)"
