"""What `tune` may change of a trained run: strengths, scales and filters; never below 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skunlearn.task_vectors.parameter_names import kind_of
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.files import JsonDict
from skunlearn.workflows.config import Run, make_run

Params = dict[str, Any]
BANDS = ("lower", "middle", "upper")
LEVELS = ("mild", "strong")
FILTERS: dict[str, tuple[JsonDict, JsonDict]] = {  # one mild and one strong setting of each
    "trim": ({"density": 0.5}, {"density": 0.15}),
    "dare": ({"drop": 0.5}, {"drop": 0.9}),
    "low_rank": ({"rank": 8}, {"rank": 2}),
    "collapse": ({"components": 1}, {"components": 4}),
    "null_space": ({"directions": 16}, {"directions": 96}),
    "fisher": ({"strength": 0.3}, {"strength": 3.0}),
}
MERGES = ("mean", "ties", "negmerge")
MOST_STRENGTH, MOST_WEIGHT, MOST_SCALE, SCALE_STEP = 2.5, 2.0, 1.5, 0.25


@dataclass(frozen=True)
class SearchSpace:
    """The settings that are searched.

    Attributes:
        run: the trained run.
        alpha: its strength.
        kinds: modules that its vectors move, by their last names.
        beside: a refusal vector stands beside the method's.
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
            alpha: its strength.
            taus: the vectors of its method.
        """
        kinds = tuple(sorted({kind_of(name) for tau in taus for name in tau.deltas}))
        return cls(run, alpha, kinds, len(run.stages(run.make_method())) > run.vectors)

    def start(self) -> Params:
        """The run's own setting, which is tried first."""
        params: Params = {
            "alpha": self.alpha,
            "filter": "run" if self.run.edit.filters else "none",
            "level": "mild",
        }
        params |= {"refuse": self.run.refuse.weight} if self.beside else {}
        params |= {"merge": "mean"} if self.run.vectors > 1 else {}
        return params | dict.fromkeys((*BANDS, *self.kinds), 1.0)

    def suggest(self, trial: Any) -> Params:
        """A setting that an optuna trial asks for."""
        names = [*(["run"] if self.run.edit.filters else []), "none", *FILTERS]
        params: Params = {
            "alpha": trial.suggest_float("alpha", 0.0, max(MOST_STRENGTH, 1.5 * self.alpha)),
            "filter": trial.suggest_categorical("filter", names),
            "level": trial.suggest_categorical("level", list(LEVELS)),
        }
        if self.beside:
            params["refuse"] = trial.suggest_float(
                "refuse", 0.0, max(MOST_WEIGHT, self.run.refuse.weight)
            )
        if self.run.vectors > 1:
            params["merge"] = trial.suggest_categorical("merge", list(MERGES))
        scales = (*BANDS, *self.kinds)
        return params | {
            name: trial.suggest_float(name, 0.0, MOST_SCALE, step=SCALE_STEP) for name in scales
        }

    def filters(self, params: Params) -> list[Any]:
        """The filters of a setting, but for the scales of bands and modules."""
        if params["filter"] == "run":
            return list(self.run.edit.filters)
        chosen = [params["merge"]] if "merge" in params else []
        if params["filter"] in FILTERS:
            options = FILTERS[params["filter"]][LEVELS.index(params["level"])]
            chosen.append({"name": params["filter"], **options})
        return chosen

    def scales(self, params: Params) -> list[Any]:
        """The scales of bands and modules, as a filter; none where all are 1."""
        bands = [params[name] for name in BANDS]
        modules = {kind: params[kind] for kind in self.kinds if params[kind] != 1}
        return (
            [{"name": "mask", "bands": bands, "modules": modules}]
            if modules or set(bands) != {1.0}
            else []
        )

    def tuned(self, params: Params) -> Run:
        """The run with a setting in place of its own.

        Raises:
            ConfigError: for a strength or weight below 0.
        """
        tree = self.run.as_dict()
        tree["edit"] |= {
            "alpha": params["alpha"],
            "filters": [*self.filters(params), *self.scales(params)],
        }
        if self.beside:
            tree["refuse"]["weight"] = params["refuse"]
        return make_run(tree)

    def words(self, params: Params) -> list[str]:
        """A setting for the reader."""
        said = [f"strength {params['alpha']:.3g}"]
        said += [f"refusal vector {params['refuse']:.3g}"] if self.beside else []
        said += [f"filters {self.filters(params)}"] if self.filters(params) else []
        changed = [
            f"{name} {params[name]:g}" for name in (*BANDS, *self.kinds) if params[name] != 1
        ]
        return said + changed
