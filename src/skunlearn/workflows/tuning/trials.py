"""Where `tune` tries its settings: likelihood first, since it is cheap; answers only where it
leaves a chance."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from skunlearn.data.examples import Split
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import EvaluateOptions, Evaluation, evaluate
from skunlearn.evaluation.gates import check_costs
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import kl_score, nll_score, row_likelihoods
from skunlearn.evaluation.results import as_json, compare_evaluations
from skunlearn.evaluation.strength import validation_options
from skunlearn.task_vectors.filters.base import filtered
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.edited_model import EditedModel
from skunlearn.workflows.tuning.search_space import Params, SearchSpace
from skunlearn.workflows.unlearn import filter_context

BEATEN_BY = 0.1  # share by which an earlier setting must be better in both proxies to leave one out
MOST_RISE = 1e3  # nats a token: a number for what is not finite


class TrialRunner:
    """Where settings are tried: the base, the run's vectors, and what the base scored.

    Args:
        run: opened; its vectors are read from its folder.
        progress: is told of the work.
    """

    def __init__(self, run: EditedModel, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self.method = run.run.make_method()
        stages = run.run.stages(self.method)
        vectors = [TaskVector.load(run.folder / f"{stage.name}.safetensors") for stage in stages]
        self.taus, self.beside = vectors[: run.run.vectors], vectors[run.run.vectors :]
        self.space = SearchSpace.of(
            run.run, read_json(run.folder / "results.json")["alpha"], self.taus
        )
        self.store = CompletionStore(run.folder / "completions.jsonl")
        self.options = validation_options(run.run.evaluate, run.run.edit)
        self.base = self._evaluate(run.data.validation, self.options)
        self.base_forget_nll = self._forget_nll()
        self.known: dict[str, TaskVector] = {}

    def run_trial(self, params: Params, others: Sequence[JsonDict]) -> JsonDict:
        """What a setting does to the validation prompts, JSON-able."""
        found: JsonDict = {
            "params": params,
            "words": self.space.words(params),
            "generated": False,
            "within": False,
        }
        gates = self.run.run.gates
        try:
            edit = self.edit(params)
        except ConfigError as error:  # scales that leave nothing
            return found | {"scores": {}, "forget_nll_rise": 0.0, "left_out": str(error)}
        with self.run.lm.edited(edit):
            scores = self._likelihood()
            found |= {
                "forget_nll_rise": min(self._forget_nll() - self.base_forget_nll, MOST_RISE),
                "left_out": "",
            }
            found["scores"] = as_json(scores)
            if others and not all(
                gate.passed for gate in check_costs(self.base.scores, scores, gates)
            ):
                return found | {"left_out": "KL or perplexity is outside its gate"}
            if others and dominated(found, others):
                return found | {"left_out": "an earlier setting is better by both proxies"}
            weights = f"tuned:{digest(params)}"
            scores |= self._evaluate(
                self.run.data.validation,
                replace(self.options, metrics=("rates",)),
                self.base,
                weights,
            ).scores
        found["scores"] = as_json(scores)
        within = all(
            gate.passed for gate in check_costs(self.base.scores, scores, gates, gates.margin)
        )
        return found | {"generated": True, "within": within}

    def edit(self, params: Params) -> TaskVector:
        """theta_u - theta_o of a setting.

        Raises:
            ConfigError: when nothing is left of the vector, or a strength is below 0.
        """
        run = self.space.tuned(params)
        scales = run.make_filters()[len(self.space.filters(params)) :]
        tau = filtered(scales, [self._filtered(params)], self._context)
        edit = run.stages(self.method)[0].scale * tau
        for vector in self.beside:
            edit = edit + run.refuse.weight * vector
        return params["alpha"] * edit

    def test_setting(self, params: Params) -> JsonDict:
        """The held-out test prompts."""
        part, options = self.run.data.test, self.run.run.evaluate
        base = self._evaluate(part, options)
        with self.run.lm.edited(self.edit(params)):
            edited = self._evaluate(part, options, base, f"tuned:{digest(params)}")
        tree = compare_evaluations(base, edited, self.run.run.gates, options, self.progress)
        return {
            name: tree[name]
            for name in ("verdict", "gates", "scores", "changes", "judge", "second_judge")
        }

    @cached_property
    def _context(self) -> RetainStatistics:
        return filter_context(self.run.lm, self.run.data, self.progress)

    def _filtered(self, params: Params) -> TaskVector:
        """The method's vectors through the filters but the scales; kept on disk, since some take a
        while, and dense."""
        filters = self.space.filters(params)
        name = digest(filters)
        if name not in self.known:
            path = self.run.folder / "tune" / f"{name}.safetensors"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if not path.exists():
                makers = replace(
                    self.run.run, edit=replace(self.run.run.edit, filters=tuple(filters))
                ).make_filters()
                filtered(makers, self.taus, self._context).save(path)
            self.known = {name: TaskVector.load(path)}
        return self.known[name]

    def _evaluate(
        self,
        part: Split,
        options: EvaluateOptions,
        base: Evaluation | None = None,
        weights: str = "",
    ) -> Evaluation:
        length = self.run.run.data.max_length
        return evaluate(
            self.run.lm,
            part,
            options,
            base=base,
            max_length=length,
            weights=weights,
            store=self.store,
            progress=self.progress,
        )

    def _likelihood(self) -> dict[str, Score]:
        subject = self.base.subject
        rows = row_likelihoods(self.run.lm.model, subject.encoded("retain"), subject.reference)
        return {"retain_nll": nll_score(rows), "retain_kl": kl_score(rows)}

    def _forget_nll(self) -> float:
        """Of harmful answers, nats a token; of training rows where the validation prompts come
        without answers."""
        data, limit = self.run.data, self.options.forget
        rows = [row for row in data.validation.forget if row.answer] or list(data.train.forget)
        encode, length = self.run.lm.template.encode, self.run.run.data.max_length
        chosen = [encode(row, length) for row in rows[:: max(1, len(rows) // limit)][:limit]]
        value = nll_score(row_likelihoods(self.run.lm.model, chosen)).value
        return float("inf") if value is None else value


def dominated(tried: JsonDict, others: Sequence[JsonDict]) -> bool:
    """An earlier generated setting makes the forget answers clearly less likely at a clearly lower
    KL."""
    rise, cost = tried["forget_nll_rise"], tried["scores"]["retain_kl"]["value"]
    return any(
        other["generated"]
        and other["scores"]["retain_kl"]["value"] is not None
        and other["forget_nll_rise"] > rise + BEATEN_BY * abs(rise)
        and other["scores"]["retain_kl"]["value"] < (1 - BEATEN_BY) * cost
        for other in others
    )
