"""The settings of a run as one value, and their plain form for YAML files.

`utils.settings` reads and writes the YAML itself.
"""

from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from skunlearn.data.dataset import DataOptions
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.evaluation.strength import EditOptions
from skunlearn.methods import METHODS
from skunlearn.methods.base import Method
from skunlearn.methods.gated_refusal import GatedRefusal
from skunlearn.models.loading import LoadOptions
from skunlearn.task_vectors.filters import FILTERS
from skunlearn.task_vectors.filters.base import Filter
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.options import checked_as
from skunlearn.utils.registry import resolve
from skunlearn.utils.settings import build_options, plain_values, to_yaml, without_name

MOST_VECTORS = 1000


@dataclass(frozen=True)
@checked_as("refuse")
class Refuse:
    """The refusal vector: a second task vector for methods that negate their own.

    A method that negates (`edit_scale` below 0) removes knowledge but teaches no refusal. A vector
    that was trained to refuse is added to it:

        theta_u = theta_o + strength * (negated * edit_scale * tau + weight * tau_refuse)

    Methods that add their vector have no refusal vector.

    Attributes:
        weight: factor of the refusal vector, 0 or more. With 0 it is not trained, and the method's
            vector is negated in full, as if `negated` were 1.
        negated: factor of the method's own vector, above 0.
        losses: the method that trains the refusal vector.
        train: its steps, learning rate and seed.
    """

    weight: float = 1.0
    negated: float = 0.4
    losses: GatedRefusal = GatedRefusal()
    train: TrainOptions = TrainOptions(steps=16, batch=8)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ConfigError(f"refuse.weight={self.weight}: give 0 or more")
        if not 0 < self.negated < float("inf"):
            raise ConfigError(f"refuse.negated={self.negated}: give a number above 0")


@dataclass(frozen=True)
class Stage:
    """The training of one task vector of a run.

    Attributes:
        name: of the vector and of its file in the run folder: "tau", "tau_2", "tau_refuse".
        method: the method that trains it.
        options: its steps, learning rate and seed.
        scale: the factor with which strength 1 adds the vector to the base model.
    """

    name: str
    method: Method
    options: TrainOptions
    scale: float


@dataclass(frozen=True)
class Run:
    """All settings of a run. Its fields are the sections of a run file and of `--set`.

    Attributes:
        model: the base model: a built-in name, a folder, a GGUF file or a hub id.
        forget: the forget set: a file, a named source or a hub id; built in when not given.
        retain: the retain set, likewise.
        method: the unlearning method: {"name": ..., option: value}, or its name alone for its
            default options.
        load: data type, device and revision of the base model.
        data: columns, limits and split of the two sets.
        lora: which weights are trained, and the rank of LoRA.
        train: steps, batch, learning rate and seed of the method's vector.
        compute: memory, precision and sharding in the training of every vector.
        vectors: how many vectors the method trains, each with the next seed; 1 or more. Several
            need a filter that merges them.
        refuse: the refusal vector, for methods that negate.
        edit: the strength, the prompts that choose it, and the filters.
        evaluate: prompts, metrics and judge of the evaluation on the test split.
        gates: the limits of the verdict.
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
        if not 1 <= self.vectors <= MOST_VECTORS:
            raise ConfigError(f"vectors={self.vectors}: give 1 or more, at most {MOST_VECTORS}")

    @property
    def method_name(self) -> str:
        """The method's name, "package.module:Class" or "file.py:Class"."""
        if isinstance(self.method, str):
            return self.method
        return str(self.method.get("name", "sku"))

    def make_method(self) -> Method:
        """The method with its options.

        Raises:
            ConfigError: when there is no such method or option.
        """
        options = {} if isinstance(self.method, str) else without_name(self.method)
        cls = resolve(self.method_name, METHODS, "method")
        method: Method = build_options(cls, options, "method")
        return method

    def make_filters(self) -> list[Filter]:
        """The filters with their options, in order.

        Raises:
            ConfigError: when there is no such filter or option.
        """
        filters = []
        for number, given in enumerate(self.edit.filters):
            tree = {"name": given} if isinstance(given, str) else given
            cls = resolve(str(tree.get("name")), FILTERS, "filter")
            filters.append(build_options(cls, without_name(tree), f"edit.filters.{number}"))
        return filters

    def stages(self, method: Method) -> list[Stage]:
        """The vectors that are trained: the method's, one for each seed, then the refusal vector.

        Args:
            method: the run's method, as `make_method` returns it.
        """
        has_refusal_vector = method.edit_scale < 0 and self.refuse.weight > 0
        scale = method.edit_scale * (self.refuse.negated if has_refusal_vector else 1.0)
        stages = []
        for number in range(self.vectors):
            name = f"tau_{number + 1}" if number else "tau"
            options = replace(self.train, seed=self.train.seed + number)
            stages.append(Stage(name, method, options, scale))
        if has_refusal_vector:
            refuse = self.refuse
            stages.append(Stage("tau_refuse", refuse.losses, refuse.train, refuse.weight))
        return stages

    def as_dict(self) -> JsonDict:
        """All settings as plain values, with every default written out."""
        method = {"name": self.method_name, **asdict(self.make_method())}
        return plain_values(asdict(self) | {"method": method})

    def as_yaml(self) -> str:
        """A run file with exactly these settings."""
        return to_yaml(self.as_dict())


# Options that version 0.1.0 did not have -> the value at which a run does what it did then.
NEW_OPTIONS: dict[str, Any] = {
    "data.extra_lookalikes": False,
    "data.forget_answers": "given",
    "data.own_samples": 3,
    "data.contexts": 0.0,
    "data.overlap": "error",
    "edit.wordings": 0,
    "evaluate.wordings": 0,
    "gates.wordings_drop": 0.5,
    "gates.wordings_refusal_rise": 0.12,
    "method.begun": 0.0,
    "refuse.losses.begun": 0.0,
}


def without_new_options(tree: JsonDict) -> JsonDict:
    """The settings without the options that 0.1.0 did not have, where they change nothing.

    A run folder that 0.1.0 made then still has the settings of the same command.

    Args:
        tree: as `Run.as_dict` returns it; it is not changed.
    """
    found: JsonDict = deepcopy(tree)
    for path, value in NEW_OPTIONS.items():
        options, name = _section(found, path)
        if options.get(name) == value:
            del options[name]
    return found


def _as_in_0_1(tree: JsonDict) -> JsonDict:
    """The settings of a complete run file, with what 0.1.0 did where it has no option for it.

    A run writes all of its settings to run.yaml, so what is missing there did not exist. In a run
    file that names only some sections, an option that is missing has its default.
    """
    sections = [one.name for one in fields(Run)]
    if not set(sections) <= tree.keys():
        return tree
    found: JsonDict = deepcopy(tree)
    for path, value in NEW_OPTIONS.items():
        options, name = _section(found, path)
        if path != "method.begun":  # only some methods have it
            options.setdefault(name, value)
    return found


def _section(tree: JsonDict, path: str) -> tuple[JsonDict, str]:
    """The part of the settings that an option is in, and the option's name there."""
    *sections, name = path.split(".")
    options = tree
    for section in sections:
        options = options[section]
    return options, name


def make_run(tree: JsonDict) -> Run:
    """A Run from plain values.

    Raises:
        ConfigError: for an unknown key (with the nearest known one), a wrong type, or a value out
            of range.
    """
    run: Run = build_options(Run, _as_in_0_1(tree), "")
    run.make_method()
    filters = run.make_filters()
    if not filters and run.vectors > 1:
        raise ConfigError(
            f"vectors={run.vectors}: put mean, ties or negmerge first in edit.filters to merge them"
        )
    return run
