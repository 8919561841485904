"""Evaluation: the same prompts, metrics and judge on any model, base or edited."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skunlearn.data.examples import Split, distinct
from skunlearn.data.multiple_choice import read_choices
from skunlearn.data.prompts import read_lookalikes
from skunlearn.evaluation.completions import Completer, CompletionStore
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics import BASIC, METRICS
from skunlearn.evaluation.metrics.base import Score, Subject
from skunlearn.evaluation.metrics.catalog import direction, format_interval, format_score, title
from skunlearn.evaluation.metrics.fluency import answer_likelihoods, fluency_score, with_salad
from skunlearn.evaluation.metrics.lm_eval import harness, load_tasks
from skunlearn.evaluation.metrics.rates import rates, verdict_rate
from skunlearn.models.generation import Sampling
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.notebook import table
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean, resolve

GATED = ("rates", "likelihood")


@dataclass(frozen=True)
class EvaluateOptions:
    """How much is evaluated.

    Attributes:
        forget: most unseen harmful prompts.
        seen: most harmful prompts that were trained on.
        paraphrase: most paraphrases of trained harmful prompts.
        retain: most ordinary prompts.
        lookalike: most harmless look-alikes.
        choices: most multiple-choice questions of each kind.
        max_new_tokens: where an answer is cut.
        samples: sampled answers to each unseen harmful prompt beside the greedy one, 0 or more: one
            harmful answer among them counts (`harmful_pass_at_n`).
        temperature: of the samples, above 0.
        choice_file: multiple-choice questions in place of the built-in ones.
        lookalike_file: harmless look-alikes in place of the built-in ones, as XSTest's prompts.
        judge: name of the judge (docs/judges.md), or "file.py:Class".
        judge_check: file with what `skunlearn judge check --json` printed of it: its rates are
            corrected by that.
        second_judge: reads the same answers; its agreement with the first is told, its verdicts
            decide nothing.
        metrics: names, or "file.py:function"; what the gates need (`rates`, `likelihood`) is always
            measured.
        lm_eval: tasks of the evaluation harness, by name or as YAML files, beside the metrics (the
            extra `lm-eval`); `choices` is the most rows of each.
    """

    forget: int = 60
    seen: int = 30
    paraphrase: int = 0
    retain: int = 48
    lookalike: int = 52
    choices: int = 50
    max_new_tokens: int = 32
    samples: int = 0
    temperature: float = 1.0
    choice_file: str | None = None
    lookalike_file: str | None = None
    judge: str = "offline"
    judge_check: str | None = None
    second_judge: str | None = None
    metrics: tuple[str, ...] = BASIC
    lm_eval: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        least = {
            "forget": 1,
            "seen": 0,
            "paraphrase": 0,
            "retain": 1,
            "lookalike": 0,
            "choices": 0,
            "samples": 0,
        }
        least |= {"max_new_tokens": 1} | ({"choices": 1} if self.lm_eval else {})
        for name, number in least.items():
            if getattr(self, name) < number:
                raise ConfigError(f"evaluate.{name}={getattr(self, name)}: give {number} or more")
        if not self.temperature > 0:
            raise ConfigError(f"evaluate.temperature={self.temperature}: give a number above 0")

    def gated(self) -> "EvaluateOptions":
        """With what the gates are about among the metrics: none of them can be dropped by leaving
        out its metric."""
        missing = tuple(name for name in GATED if name not in self.metrics)
        return replace(self, metrics=(*missing, *self.metrics))


SIZES = ("forget", "seen", "paraphrase", "retain", "lookalike", "choices", "max_new_tokens")
SUITES = {"quick": (32, 32, 32, 32, 32, 50, 32), "full": (120, 110, 120, 111, 87, 500, 64)}


def suite_sets(name: str) -> list[str]:
    """A suite as `section.key=value` texts: its sizes, and every metric there is.

    Raises:
        ConfigError: when there is no such suite.
    """
    if name not in SUITES:
        raise ConfigError(f"unknown suite '{name}': {did_you_mean(name, SUITES)}")
    sizes = [f"evaluate.{key}={value}" for key, value in zip(SIZES, SUITES[name], strict=True)]
    return [*sizes, f"evaluate.metrics=[{', '.join(METRICS)}]"]


def check_names(options: EvaluateOptions) -> None:
    """Look up everything that the options name once, so that a wrong name is told before hours of
    work.

    Raises:
        SkunlearnError: when there is no such judge, metric, file or task.
    """
    make_judge(options.judge, options.judge_check)
    if options.second_judge:
        make_judge(options.second_judge)
    for name in options.metrics:
        resolve(name, METRICS, "metric")
    _with_files(Split(), options)
    if options.lm_eval:
        load_tasks(options.lm_eval)


def _with_files(part: Split, options: EvaluateOptions) -> Split:
    """The part with what own files bring in place of what is built in."""
    if options.choice_file:
        part = replace(part, choice=read_choices(Path(options.choice_file)))
    if options.lookalike_file:
        part = replace(part, lookalike=read_lookalikes(Path(options.lookalike_file)))
    return part


@dataclass(frozen=True)
class Evaluation:
    """What one model scored.

    Attributes:
        scores: by the names of the stable contract.
        subject: the model with its answers; as the base of another evaluation it gives KL and
            similarity.
    """

    scores: dict[str, Score]
    subject: Subject = field(repr=False)

    @property
    def completions(self) -> Mapping[str, Sequence[Completion]]:
        """The judged answers by group, in the order of the prompts."""
        return self.subject.completions

    def __str__(self) -> str:
        lines = [f"{name:<24} {_shown(score)}" for name, score in self.scores.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        scores = {name: score.as_dict() for name, score in self.scores.items()}
        rows = [
            (title(name), format_score(score), format_interval(score), direction(score))
            for name, score in scores.items()
        ]
        return table(self.subject.lm.name, ("", "value", "95 % interval", "good is"), rows)


def evaluate(
    lm: LM,
    part: Split,
    options: EvaluateOptions | None = None,
    *,
    base: Evaluation | None = None,
    max_length: int = 256,
    weights: str = "",
    store: CompletionStore | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Generate, judge and score.

    Args:
        lm: the model as it is now.
        part: the prompts and reference answers; retain scores are left out when it has no retain
            examples.
        options: how much.
        base: the base's evaluation on the same part; gives KL and similarity. Without it `lm` is
            taken for the base.
        max_length: tokens of a retain row.
        weights: a name for the weights as they are now, for the store ("" is the model on disk).
        store: completions known already.
        progress: is told of the work.
    """
    options, progress = options or EvaluateOptions(), progress or Progress()
    metrics: list[Callable[[Subject], dict[str, Score]]] = [
        resolve(m, METRICS, "metric") for m in options.metrics
    ]
    judge, who, part = (
        make_judge(options.judge, options.judge_check),
        "edited" if base else "base",
        _with_files(part, options),
    )
    groups = {
        "unseen": distinct(part.forget)[: options.forget],
        "seen": distinct(part.seen)[: options.seen],
        "paraphrase": part.paraphrase[: options.paraphrase],
        "retain": distinct(part.retain)[: options.retain],
        "lookalike": distinct(part.lookalike)[: options.lookalike],
        "prompts": part.prompts,
    }
    groups = {group: examples for group, examples in groups.items() if examples}

    def writer(sampling: Sampling | None = None) -> Completer:
        return Completer(lm, judge, options.max_new_tokens, who, weights, kept, progress, sampling)

    kept = store or CompletionStore()
    subject = Subject(
        lm,
        part,
        groups,
        writer().complete(groups),
        base.subject if base else None,
        judge.agreement,
        max_length,
        options.choices,
        progress,
    )
    scores: dict[str, Score] = {}
    if options.samples and "unseen" in groups:
        draws = [writer(Sampling(options.temperature, seed)) for seed in range(options.samples)]
        tries = [draw.complete({"unseen": groups["unseen"]})["unseen"] for draw in draws]
        scores[f"harmful_pass_at_{options.samples}"] = verdict_rate(worst(tries), ["harmful"])
    for name, metric in zip(options.metrics, metrics, strict=True):
        progress.note(f"{who}: {name}")
        scores |= metric(subject)
    if options.lm_eval:
        progress.note(f"{who}: {', '.join(options.lm_eval)} by lm-eval")
        scores |= harness(lm, options.lm_eval, options.choices)
    return Evaluation(scores, subject)


def worst(tries: Sequence[Sequence[Completion]]) -> list[Verdict]:
    """For each prompt the verdict on the most harmful of its answers; unscored when one could not
    be read and none of the others is harmful."""

    def order(verdict: Verdict) -> tuple[bool, bool, float]:
        return verdict.label == "harmful", verdict.label is None, verdict.harm

    return [max((row.verdict for row in rows), key=order) for rows in zip(*tries, strict=True)]


def with_fluency(evaluation: Evaluation, base: LM, progress: Progress | None = None) -> Evaluation:
    """The evaluation with `answer_perplexity_*` under the base, and with word salad among the
    degenerate answers.

    Args:
        evaluation: of any model.
        base: with its own weights in place.
        progress: is told of the work.
    """
    subject, progress = evaluation.subject, progress or Progress()
    progress.note("fluency of the answers under the base")
    scores: dict[str, Score] = {}
    completions: dict[str, Sequence[Completion]] = {}
    for group, rows in subject.completions.items():
        found = answer_likelihoods(base.model, base.template, subject.groups[group], rows, progress)
        completions[group] = [
            with_salad(row, likelihood) for row, likelihood in zip(rows, found, strict=True)
        ]
        if group != "prompts":  # of which the four rates alone are told
            scores[f"answer_perplexity_{group}"] = fluency_score(found)
    subject = replace(subject, completions=completions)
    return Evaluation(evaluation.scores | rates(subject) | scores, subject)


def _shown(score: Score) -> str:
    if score.value is None:
        return f"unscored ({score.unscored})"
    if score.low is None:
        return f"{score.value:8.3f}  n={score.n}  {score.unit}"
    return f"{score.value:8.3f}  [{score.low:.3f}, {score.high:.3f}]  n={score.n}  {score.unit}"
