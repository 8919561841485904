"""The settings of a trained run that `tune` searches: strengths, scales and filters.

None of them may be below 0: a negative strength would make the harmful model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skunlearn.task_vectors.parameter_names import kind_of
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.files import JsonDict
from skunlearn.workflows.config import Run, make_run

Params = dict[str, Any]

# The layers in three bands of like size, each with a scale of its own.
BANDS = ("lower", "middle", "upper")
LEVELS = ("mild", "strong")
# One mild and one strong setting of each filter.
FILTERS: dict[str, tuple[JsonDict, JsonDict]] = {
    "trim": ({"density": 0.5}, {"density": 0.15}),
    "dare": ({"drop": 0.5}, {"drop": 0.9}),
    "low_rank": ({"rank": 8}, {"rank": 2}),
    "collapse": ({"components": 1}, {"components": 4}),
    "null_space": ({"directions": 16}, {"directions": 96}),
    "fisher": ({"strength": 0.3}, {"strength": 3.0}),
}
# Filters that merge the vectors of several seeds.
MERGES = ("mean", "ties", "negmerge")

# Upper ends of the ranges. A run whose own value lies higher widens its range.
MOST_STRENGTH = 2.5
MOST_WEIGHT = 2.0
MOST_SCALE = 1.5
SCALE_STEP = 0.25


@dataclass(frozen=True)
class SearchSpace:
    """The settings that are searched.

    A setting is a dict of parameters: `alpha` (the strength), `filter` and its `level`, a scale for
    each band of layers and each kind of module; `refuse` (the weight of the refusal vector) and
    `merge` where the run has a refusal vector or several vectors.

    Attributes:
        run: the trained run.
        alpha: the strength that it chose.
        kinds: last names of the modules that its vectors change (`q_proj`, ...).
        beside: the run has a refusal vector beside the method's own.
    """

    run: Run
    alpha: float
    kinds: tuple[str, ...]
    beside: bool

    @classmethod
    def of(cls, run: Run, alpha: float, taus: Sequence[TaskVector]) -> "SearchSpace":
        """The space of a run.

        Args:
            run: its settings.
            alpha: the strength that it chose.
            taus: the vectors of its method.
        """
        kinds: set[str] = set()
        for tau in taus:
            kinds.update(map(kind_of, tau.deltas))
        beside = len(run.stages(run.make_method())) > run.vectors
        return cls(run, alpha, tuple(sorted(kinds)), beside)

    @property
    def scaled(self) -> tuple[str, ...]:
        """The bands and the kinds of modules, each of which has a scale."""
        return (*BANDS, *self.kinds)

    def start(self) -> Params:
        """The run's own setting, which is tried first."""
        params: Params = {
            "alpha": self.alpha,
            "filter": "run" if self.run.edit.filters else "none",
            "level": "mild",
        }
        if self.beside:
            params["refuse"] = self.run.refuse.weight
        if self.run.vectors > 1:
            params["merge"] = "mean"
        return params | dict.fromkeys(self.scaled, 1.0)

    def suggest(self, trial: Any) -> Params:
        """Draw a setting.

        Args:
            trial: an optuna trial.
        """
        names = ["none", *FILTERS]
        if self.run.edit.filters:
            names = ["run", *names]
        most_strength = max(MOST_STRENGTH, 1.5 * self.alpha)
        params: Params = {
            "alpha": trial.suggest_float("alpha", 0.0, most_strength),
            "filter": trial.suggest_categorical("filter", names),
            "level": trial.suggest_categorical("level", list(LEVELS)),
        }
        if self.beside:
            most_weight = max(MOST_WEIGHT, self.run.refuse.weight)
            params["refuse"] = trial.suggest_float("refuse", 0.0, most_weight)
        if self.run.vectors > 1:
            params["merge"] = trial.suggest_categorical("merge", list(MERGES))
        for name in self.scaled:
            params[name] = trial.suggest_float(name, 0.0, MOST_SCALE, step=SCALE_STEP)
        return params

    def filters(self, params: Params) -> list[Any]:
        """The filters of a setting in order, without the scales of bands and modules."""
        if params["filter"] == "run":
            return list(self.run.edit.filters)
        chosen = [params["merge"]] if "merge" in params else []
        if params["filter"] in FILTERS:
            options = FILTERS[params["filter"]][LEVELS.index(params["level"])]
            chosen.append({"name": params["filter"], **options})
        return chosen

    def scales(self, params: Params) -> list[Any]:
        """The scales of bands and modules as one filter; empty when all of them are 1."""
        bands = [params[name] for name in BANDS]
        modules = {kind: params[kind] for kind in self.kinds if params[kind] != 1}
        if not modules and set(bands) == {1.0}:
            return []
        return [{"name": "mask", "bands": bands, "modules": modules}]

    def tuned(self, params: Params) -> Run:
        """The run with a setting in place of its own.

        Raises:
            ConfigError: for a strength or weight below 0.
        """
        tree = self.run.as_dict()
        tree["edit"]["alpha"] = params["alpha"]
        tree["edit"]["filters"] = [*self.filters(params), *self.scales(params)]
        if self.beside:
            tree["refuse"]["weight"] = params["refuse"]
        return make_run(tree)

    def words(self, params: Params) -> list[str]:
        """A setting as words for the reader; scales of 1 are left out."""
        words = [f"strength {params['alpha']:.3g}"]
        if self.beside:
            words.append(f"refusal vector {params['refuse']:.3g}")
        filters = self.filters(params)
        if filters:
            words.append(f"filters {filters}")
        for name in self.scaled:
            if params[name] != 1:
                words.append(f"{name} {params[name]:g}")
        return words
