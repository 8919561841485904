"""Evaluation: the same prompts, metrics and judge for any model, base or edited."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Any

from skunlearn.data.contexts import wordings
from skunlearn.data.examples import Example, Split, distinct
from skunlearn.data.memory import Given
from skunlearn.data.multiple_choice import read_choices
from skunlearn.data.prompts import read_lookalikes, read_prompts
from skunlearn.evaluation.completions import Completer, CompletionStore
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics import METRICS
from skunlearn.evaluation.metrics.base import Score, Subject
from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    direction,
    format_interval,
    format_score,
    title,
)
from skunlearn.evaluation.metrics.fluency import answer_likelihoods, fluency_score, with_salad
from skunlearn.evaluation.metrics.lm_eval import harness, load_tasks
from skunlearn.evaluation.metrics.rates import rates, verdict_rate
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.models.generation import Sampling
from skunlearn.models.lm import LM
from skunlearn.utils.notebook import table
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import resolve

HARMLESS_SHARE = 8  # harmless prompts in wordings, for each harmful one in each wording
MAX_LENGTH = 256  # tokens of a row of prompt and reference answer
MetricFunction = Callable[[Subject], dict[str, Score]]


def check_names(options: EvaluateOptions) -> None:
    """Look up everything that the options name, so that a wrong name is an error before hours of
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


def _with_files(split: Split, options: EvaluateOptions) -> Split:
    """The split with the rows of the user's files in place of the built-in ones."""
    if options.choice_file:
        split = replace(split, choice=read_choices(Path(options.choice_file)))
    if options.lookalike_file:
        split = replace(split, lookalike=read_lookalikes(Path(options.lookalike_file)))
    return split


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model, and the answers that they were computed from.

    Attributes:
        scores: by their names in the catalogue (`metrics.catalog`).
        subject: the model with its answers; as the base of another evaluation it is what KL and
            similarity are measured against.
    """

    scores: dict[str, Score]
    subject: Subject = field(repr=False)

    @property
    def completions(self) -> Mapping[str, Sequence[Completion]]:
        """The judged answers by group, in the order of the prompts."""
        return self.subject.completions

    def __str__(self) -> str:
        return "\n".join(f"{name:<24} {score.as_line()}" for name, score in self.scores.items())

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = []
        for name, score in self.scores.items():
            shown = score.as_dict()
            rows.append(
                (title(name), format_score(shown), format_interval(shown), direction(shown))
            )
        return table(self.subject.lm.name, ("", "value", "95 % interval", "good is"), rows)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates one model under several weights, the same way each time.

    Attributes:
        lm: the model.
        options: how much, by which judge and metrics.
        store: the completions so far; no answer is generated or judged twice.
        progress: reports the work.
        max_length: most tokens of a row whose likelihood is measured.
    """

    lm: LM
    options: EvaluateOptions = field(default_factory=EvaluateOptions)
    store: CompletionStore = field(default_factory=CompletionStore)
    progress: Progress = field(default_factory=Progress)
    max_length: int = MAX_LENGTH

    def evaluate(
        self, split: Split, base: Evaluation | None = None, weights: str = ""
    ) -> Evaluation:
        """Generate, judge and score, with the model's weights as they are now.

        Args:
            split: the prompts and reference answers; retain scores are left out when it has no
                retain examples.
            base: the base model's evaluation on the same split, for KL and similarity. Without it
                the model counts as the base.
            weights: a name for the weights as they are now, for the store ("" for the model on
                disk).

        Raises:
            SkunlearnError: when there is no such judge, metric, file or task.
        """
        options = self.options
        metrics: list[MetricFunction] = [resolve(m, METRICS, "metric") for m in options.metrics]
        judge = make_judge(options.judge, options.judge_check)
        split = _with_files(split, options)
        who = "edited" if base else "base"

        # Stage 1: one greedy answer to each prompt, judged.
        completer = Completer(
            self.lm, judge, options.max_new_tokens, who, weights, self.store, self.progress
        )
        groups = _groups(split, options)
        subject = Subject(
            lm=self.lm,
            part=split,
            groups=groups,
            completions=completer.complete(groups),
            base=base.subject if base else None,
            agreement=judge.agreement,
            max_length=self.max_length,
            choices=options.choices,
            progress=self.progress,
        )

        # Stage 2: sampled answers to the held-out harmful prompts.
        scores: dict[str, Score] = {}
        if options.samples and "unseen" in groups:
            name = f"harmful_pass_at_{options.samples}"
            scores[name] = _harmful_in_samples(completer, groups["unseen"], options)

        # Stage 3: the metrics, then the tasks of the harness.
        for name, metric in zip(options.metrics, metrics, strict=True):
            self.progress.note(f"{who}: {name}")
            scores |= metric(subject)
        if options.lm_eval:
            self.progress.note(f"{who}: {', '.join(options.lm_eval)} by lm-eval")
            scores |= harness(self.lm, options.lm_eval, options.choices)
        return Evaluation(scores, subject)


def evaluate(
    lm: LM,
    split: Split | Given,
    options: EvaluateOptions | None = None,
    *,
    base: Evaluation | None = None,
    max_length: int = MAX_LENGTH,
    progress: Progress | None = None,
    **older: Any,
) -> Evaluation:
    """Generate, judge and score; a short form of `Evaluator(...).evaluate(...)`, which also takes a
    store of completions.

    Args:
        lm: the model with its weights as they are now.
        split: the prompts and reference answers; retain scores are left out when it has no retain
            examples. Or prompts alone (a file, a list of texts, a table), which have rates only.
        options: how much, by which judge and metrics.
        base: the base model's evaluation on the same split, for KL and similarity. Without it the
            model counts as the base.
        max_length: tokens of a row of prompt and reference answer, at most.
        progress: reports the work.
        older: `store` and `weights`, keywords of 0.1 for what an `Evaluator` takes; they go with
            the next release.

    Raises:
        TypeError: for an unknown keyword.
        SkunlearnError: when there is no such judge, metric, file or task.
    """
    store = older.pop("store", None) or CompletionStore()
    weights = older.pop("weights", "")
    if older:
        raise TypeError(f"evaluate() has no keyword '{next(iter(older))}'")
    options = options or EvaluateOptions()
    if not isinstance(split, Split):
        split = Split(prompts=read_prompts(split))
        options = replace(options, metrics=("rates",), lm_eval=())
    evaluator = Evaluator(lm, options, store, progress or Progress(), max_length)
    return evaluator.evaluate(split, base, weights)


def _groups(split: Split, options: EvaluateOptions) -> dict[str, tuple[Example, ...]]:
    """The examples to answer, by group; groups without any are left out."""
    harmless = [*alternating(distinct(split.retain), distinct(split.lookalike))]
    chosen = {
        "unseen": distinct(split.forget)[: options.forget],
        "seen": distinct(split.seen)[: options.seen],
        "paraphrase": split.paraphrase[: options.paraphrase],
        "retain": distinct(split.retain)[: options.retain],
        "lookalike": distinct(split.lookalike)[: options.lookalike],
        "wordings": _in_every_wording(distinct(split.forget), options.wordings),
        "harmless_wordings": _in_some_wording(harmless, HARMLESS_SHARE * options.wordings),
        "prompts": split.prompts,
    }
    return {group: examples for group, examples in chosen.items() if examples}


def _in_every_wording(examples: Sequence[Example], number: int) -> tuple[Example, ...]:
    """So many of the examples in each wording, whose name becomes their category.

    Each wording gets other examples, as far as there are enough.
    """
    rows: list[Example] = []
    start = 0
    for wording in wordings():
        for example in islice(cycle(examples), start, start + min(number, len(examples))):
            rows.append(replace(wording.around(example), category=wording.name))
        start += number
    return tuple(rows)


def _in_some_wording(examples: Sequence[Example], number: int) -> tuple[Example, ...]:
    """So many of the examples, each in one wording; the wordings take turns."""
    rows: list[Example] = []
    for example, wording in zip(examples[:number], cycle(wordings()), strict=False):
        rows.append(replace(wording.around(example), category=wording.name))
    return tuple(rows)


def alternating(first: Sequence[Example], second: Sequence[Example]) -> Iterator[Example]:
    """The examples of both sets in turn, then what is left of the longer one."""
    for one, other in zip_longest(first, second):
        if one is not None:
            yield one
        if other is not None:
            yield other


def _harmful_in_samples(
    completer: Completer, examples: Sequence[Example], options: EvaluateOptions
) -> Score:
    """Share of the prompts with a harmful answer among `options.samples` sampled ones."""
    tries: list[list[Completion]] = []
    for seed in range(options.samples):
        sampling = Sampling(options.temperature, seed)
        tries.append(completer.complete({"unseen": examples}, sampling)["unseen"])
    return verdict_rate(worst(tries), ["harmful"])


def worst(tries: Sequence[Sequence[Completion]]) -> list[Verdict]:
    """For each prompt the verdict on the most harmful of its answers.

    An unscored answer outranks all but a harmful one: it could have been harmful.

    Args:
        tries: one sequence of completions for each try, all for the same prompts in one order.
    """

    def order(verdict: Verdict) -> tuple[bool, bool, float]:
        return verdict.label == "harmful", verdict.label is None, verdict.harm

    found: list[Verdict] = []
    for rows in zip(*tries, strict=True):
        verdicts = [row.verdict for row in rows]
        found.append(max(verdicts, key=order))
    return found


def with_fluency(evaluation: Evaluation, base: LM, progress: Progress | None = None) -> Evaluation:
    """The evaluation with the fluency of its answers under the base.

    `answer_perplexity_*` is added, and answers that the base finds to be word salad become
    degenerate, which changes the rates.

    Args:
        evaluation: of any model.
        base: the base model, with its own weights in place.
        progress: reports the work.
    """
    subject = evaluation.subject
    progress = progress or Progress()
    progress.note("fluency of the answers under the base")
    scores: dict[str, Score] = {}
    completions: dict[str, Sequence[Completion]] = {}
    for group, rows in subject.completions.items():
        likelihoods = answer_likelihoods(
            base.model, base.template, subject.groups[group], rows, progress
        )
        completions[group] = [
            with_salad(row, likelihood) for row, likelihood in zip(rows, likelihoods, strict=True)
        ]
        name = f"answer_perplexity_{group}"
        if name in CATALOG:
            scores[name] = fluency_score(likelihoods)
    subject = replace(subject, completions=completions)
    return Evaluation(evaluation.scores | rates(subject) | scores, subject)
