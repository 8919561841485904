"""Trials of `tune`: what a setting makes of a run's vectors, and what the edit then scores."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluation, Evaluator
from skunlearn.evaluation.metrics.likelihood import nll_score, row_likelihoods
from skunlearn.evaluation.results import as_json, compare_evaluations
from skunlearn.evaluation.strength import TwoStepEvaluation, validation_options
from skunlearn.task_vectors.filters.base import filtered
from skunlearn.task_vectors.vector import TaskVector, weighted_sum
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.edited_model import EditedModel
from skunlearn.workflows.training_rows import with_training_rows
from skunlearn.workflows.tuning.search_space import Params, SearchSpace
from skunlearn.workflows.unlearn import filter_context

# An earlier setting dominates a trial when it is better by this share in both proxies.
BEATEN_BY = 0.1
# The largest rise of the forget NLL that is reported, nats a token, in place of an infinite one.
MOST_RISE = 1e3
TESTED = ("verdict", "gates", "scores", "changes", "judge", "second_judge")


class TrialRunner:
    """Tries settings of a run: the base model, the run's vectors, and what the base scored.

    Args:
        run: an opened run; its vectors are read from its folder.
        progress: reports the work.

    Attributes:
        run: the opened run.
        method: the run's method.
        taus: the method's vectors, one for each seed, before any filter.
        beside: the refusal vector; empty for a run without one.
        space: the settings that can be tried.
        steps: evaluates edited weights on the validation split, likelihood first.
    """

    def __init__(self, run: EditedModel, progress: Progress) -> None:
        self.run = run
        self.progress = progress
        self.method = run.run.make_method()
        stages = run.run.stages(self.method)
        vectors = [TaskVector.load(run.folder / f"{stage.name}.safetensors") for stage in stages]
        self.taus = vectors[: run.run.vectors]
        self.beside = vectors[run.run.vectors :]
        alpha = read_json(run.folder / "results.json")["alpha"]
        self.space = SearchSpace.of(run.run, alpha, self.taus)

        self.store = CompletionStore(run.folder / "completions.jsonl")
        options = validation_options(run.run.evaluate, run.run.edit)
        max_length = run.run.data.max_length
        evaluator = Evaluator(run.lm, options, self.store, progress, max_length)
        self.steps = TwoStepEvaluation(evaluator, run.data.validation, run.run.gates)
        self.base_forget_nll = self._forget_nll()
        self._filtered_vectors: dict[str, TaskVector] = {}  # the one that was used last

    @property
    def base(self) -> Evaluation:
        """The base model's evaluation on the validation split."""
        return self.steps.base

    def run_trial(self, params: Params, others: Sequence[JsonDict]) -> JsonDict:
        """Evaluate a setting on the validation split.

        Likelihood comes first, since it is cheap. Answers are generated only when the setting can
        still be chosen: it meets the gates that likelihood decides, and no earlier setting
        dominates it. The first setting is always generated.

        Args:
            params: the setting.
            others: the trials before this one.

        Returns:
            The trial, JSON-able: the setting as `params` and `words`; `scores`; `forget_nll_rise`,
            nats a token; whether answers were `generated`; why the setting was `left_out`, or "";
            whether all gates on costs are met (`within`).
        """
        trial: JsonDict = {
            "params": params,
            "words": self.space.words(params),
            "generated": False,
            "within": False,
            "forget_nll_rise": 0.0,
            "left_out": "",
            "scores": {},
        }
        try:
            edit = self.edit(params)
        except ConfigError as error:  # for example scales that leave nothing of the vector
            return trial | {"left_out": str(error)}

        with self.run.lm.edited(edit):
            scores = self.steps.likelihood_scores()
            rise = min(self._forget_nll() - self.base_forget_nll, MOST_RISE)
            trial |= {"forget_nll_rise": rise, "scores": as_json(scores)}
            if others and not self.steps.meets_gates(scores):
                return trial | {"left_out": "KL or perplexity is outside its gate"}
            if others and dominated(trial, others):
                return trial | {"left_out": "an earlier setting is better by both proxies"}
            scores |= self.steps.answer_scores(_weights_name(params))

        within = self.steps.meets_gates(scores, with_margin=True)
        return trial | {"scores": as_json(scores), "generated": True, "within": within}

    def edit(self, params: Params) -> TaskVector:
        """The task vector theta_u - theta_o of a setting.

        Raises:
            ConfigError: when nothing is left of the vector, or a strength is below 0.
        """
        run = self.space.tuned(params)
        # The scales of bands and modules come last among the filters. They change in almost every
        # trial, so they are applied to the stored result of the other filters.
        scales = run.make_filters()[len(self.space.filters(params)) :]
        tau = filtered(scales, [self._filtered(params)], self._context)
        parts = [(run.stages(self.method)[0].scale, tau)]
        for vector in self.beside:
            parts.append((run.refuse.weight, vector))
        return params["alpha"] * weighted_sum(parts)

    def test_setting(self, params: Params) -> JsonDict:
        """Evaluate base and setting on the test split, with gates and verdict."""
        run = self.run.run
        split = self.run.data.test
        evaluator = replace(self.steps.evaluator, options=run.evaluate)
        base = evaluator.evaluate(split)
        with self.run.lm.edited(self.edit(params)):
            edited = evaluator.evaluate(split, base, _weights_name(params))
        results = compare_evaluations(base, edited, run.gates, run.evaluate, self.progress)
        return {name: results[name] for name in TESTED}

    @cached_property
    def _context(self) -> RetainStatistics:
        run = self.run
        data = with_training_rows(run.lm, run.data, run.run, run.folder, self.progress)
        return filter_context(run.lm, data, self.progress)

    def _filtered(self, params: Params) -> TaskVector:
        """The method's vectors after all filters of a setting but the scales.

        The results are stored on disk, since some filters take a while. Only one is held in memory,
        since it may be dense.
        """
        filters = self.space.filters(params)
        name = digest(filters)
        if name not in self._filtered_vectors:
            path = self.run.folder / "tune" / f"{name}.safetensors"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if not path.exists():
                run = self.run.run
                with_filters = replace(run, edit=replace(run.edit, filters=tuple(filters)))
                made = with_filters.make_filters()
                filtered(made, self.taus, self._context).save(path)
            self._filtered_vectors = {name: TaskVector.load(path)}
        return self._filtered_vectors[name]

    def _forget_nll(self) -> float:
        """NLL of the forget answers by the weights as they are now, mean over tokens, in nats.

        The rows are evenly spaced in the validation split, or in the train split where validation
        prompts have no answers. It is infinite where it is no number.
        """
        data = self.run.data
        rows = [row for row in data.validation.forget if row.answer]
        if not rows:
            rows = list(data.train.forget)
        limit = self.steps.evaluator.options.forget
        spacing = max(1, len(rows) // limit)
        lm = self.run.lm
        max_length = self.run.run.data.max_length
        encoded = [lm.template.encode(row, max_length) for row in rows[::spacing][:limit]]
        value = nll_score(row_likelihoods(lm.model, encoded)).value
        return float("inf") if value is None else value


def _weights_name(params: Params) -> str:
    """A name for the weights with a setting's edit, for the store of completions."""
    return f"tuned:{digest(params)}"


def dominated(trial: JsonDict, others: Sequence[JsonDict]) -> bool:
    """Whether an earlier setting is clearly better by likelihood.

    It makes the forget answers less likely than this trial does, at a lower KL divergence from the
    base model, each by more than `BEATEN_BY`. Only settings with generated answers count.
    """
    rise = trial["forget_nll_rise"]
    cost = trial["scores"]["retain_kl"]["value"]
    for other in others:
        if not other["generated"]:
            continue
        other_cost = other["scores"]["retain_kl"]["value"]
        if other_cost is None:
            continue
        more_forgotten = other["forget_nll_rise"] > rise + BEATEN_BY * abs(rise)
        if more_forgotten and other_cost < (1 - BEATEN_BY) * cost:
            return True
    return False
