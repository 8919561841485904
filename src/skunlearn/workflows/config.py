"""Run: the options of all components in one value, and its YAML form. Only this module knows
YAML."""

from dataclasses import asdict, dataclass, replace

from skunlearn.data.dataset import DataOptions
from skunlearn.evaluation.evaluator import EvaluateOptions
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.strength import EditOptions
from skunlearn.methods import METHODS
from skunlearn.methods.base import Method
from skunlearn.methods.gated_refusal import GatedRefusal
from skunlearn.models.loading import LoadOptions
from skunlearn.task_vectors.filters import FILTERS
from skunlearn.task_vectors.filters.base import Filter
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.train import TrainOptions
from skunlearn.training.trainable import LoraOptions
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import resolve
from skunlearn.utils.settings import build_options, plain_values, to_yaml, without_name


@dataclass(frozen=True)
class Refuse:
    """The refusal vector beside a method that negates: theta_u = theta_o + strength (-negated tau +
    weight tau_refuse).

    Attributes:
        weight: of the vector, 0 or more; 0 leaves it out, and its training too: then tau is negated
            whole.
        negated: weight of the method's own vector beside it, above 0.
        losses: how it is learnt.
        train: for how long.
    """

    weight: float = 1.0
    negated: float = 0.4
    losses: GatedRefusal = GatedRefusal()
    train: TrainOptions = TrainOptions(steps=14, batch=8)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ConfigError(f"refuse.weight={self.weight}: give 0 or more")
        if not 0 < self.negated < float("inf"):
            raise ConfigError(f"refuse.negated={self.negated}: give a number above 0")


@dataclass(frozen=True)
class Stage:
    """One vector that a run trains.

    Attributes:
        name: of its file in the run folder.
        method: the losses.
        options: steps, rates, seed.
        scale: what strength 1 adds of it.
    """

    name: str
    method: Method
    options: TrainOptions
    scale: float


@dataclass(frozen=True)
class Run:
    """Everything that decides a run's result; the fields of a run file and of `--set`.

    Attributes:
        model: built-in name, folder, GGUF file or hub id.
        forget: file, named source or hub id of the forget set; built in when not given.
        retain: likewise of the retain set.
        method: {"name": ..., option: value}; a name alone stands for its defaults.
        load: how the model is loaded.
        data: how data is read and split.
        lora: which weights are trained.
        train: steps, rates, seed.
        compute: memory against time in training; of all vectors.
        vectors: task vectors of the method, one a seed, for filters that merge several (1 or more).
        refuse: the refusal vector that is added where the method negates.
        edit: the strength.
        evaluate: how much is measured.
        gates: what counts as success.
    """

    model: str = "smollm2-135m"
    forget: str | None = None
    retain: str | None = None
    method: JsonDict | str = "sku"
    load: LoadOptions = LoadOptions()
    data: DataOptions = DataOptions()
    lora: LoraOptions = LoraOptions()
    train: TrainOptions = TrainOptions()
    compute: ComputeOptions = ComputeOptions()
    vectors: int = 1
    refuse: Refuse = Refuse()
    edit: EditOptions = EditOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    gates: GateOptions = GateOptions()

    def __post_init__(self) -> None:
        if self.vectors < 1:
            raise ConfigError(f"vectors={self.vectors}: give 1 or more")

    @property
    def method_name(self) -> str:
        """The method's name, "package.module:Class" or "file.py:Class"."""
        return self.method if isinstance(self.method, str) else str(self.method.get("name", "sku"))

    def make_method(self) -> Method:
        """The method with its options.

        Raises:
            ConfigError: when there is no such method or option.
        """
        options = {} if isinstance(self.method, str) else without_name(self.method)
        method: Method = build_options(
            resolve(self.method_name, METHODS, "method"), options, "method"
        )
        return method

    def make_filters(self) -> list[Filter]:
        """The filters with their options.

        Raises:
            ConfigError: when there is no such filter or option.
        """
        trees = [{"name": one} if isinstance(one, str) else one for one in self.edit.filters]
        classes = [resolve(str(tree.get("name")), FILTERS, "filter") for tree in trees]
        made = zip(classes, trees, strict=True)
        return [
            build_options(cls, without_name(tree), f"edit.filters.{n}")
            for n, (cls, tree) in enumerate(made)
        ]

    def stages(self, method: Method) -> list[Stage]:
        """What is trained: the method, once a seed, and the refusal vector where the method
        negates."""
        beside = method.edit_scale < 0 and self.refuse.weight > 0
        scale = method.edit_scale * (self.refuse.negated if beside else 1.0)
        stages = [
            Stage(
                f"tau_{n + 1}" if n else "tau",
                method,
                replace(self.train, seed=self.train.seed + n),
                scale,
            )
            for n in range(self.vectors)
        ]
        if beside:
            stages.append(
                Stage("tau_refuse", self.refuse.losses, self.refuse.train, self.refuse.weight)
            )
        return stages

    def as_dict(self) -> JsonDict:
        """Plain values, every default written out."""
        method = {"name": self.method_name, **asdict(self.make_method())}
        return plain_values(asdict(self) | {"method": method})

    def as_yaml(self) -> str:
        """The run file that gives this very run."""
        return to_yaml(self.as_dict())


def make_run(tree: JsonDict) -> Run:
    """A Run from plain values.

    Raises:
        ConfigError: for an unknown key (with the nearest known one), a wrong type, or a value out
            of range.
    """
    run: Run = build_options(Run, tree, "")
    run.make_method()
    if not run.make_filters() and run.vectors > 1:
        raise ConfigError(
            f"vectors={run.vectors}: put mean, ties or negmerge first in edit.filters to make one of them"
        )
    return run
