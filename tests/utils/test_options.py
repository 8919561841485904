"""Wrong values in Python are refused like those of run files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from skunlearn.attacks.base import BatteryOptions
from skunlearn.attacks.relearn import Relearn
from skunlearn.data.dataset import DataOptions
from skunlearn.evaluation.evaluator import EvaluateOptions
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.strength import EditOptions
from skunlearn.methods.base import Detector
from skunlearn.methods.refusal import Refusal
from skunlearn.methods.sku import SKU
from skunlearn.models.loading import LoadOptions
from skunlearn.task_vectors.filters.trim import Trim
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked

INFINITE, NAN = float("inf"), float("nan")
WRONG: list[tuple[type, dict[str, Any]]] = [
    (SKU, {"pd_mode": "DIVERGE"}),
    (SKU, {"gd_weight": "1"}),
    (SKU, {"gd_weight": INFINITE}),
    (SKU, {"pd_cap": NAN}),
    (SKU, {"mismatched": 1.5}),
    (SKU, {"gd_weight": 10**400}),
    (Refusal, {"keep_weight": True}),
    (TrainOptions, {"steps": 3.5}),
    (TrainOptions, {"steps": 3.0}),
    (TrainOptions, {"steps": True}),
    (TrainOptions, {"lr": NAN}),
    (TrainOptions, {"lr": INFINITE}),
    (TrainOptions, {"lr": "1e-3"}),
    (TrainOptions, {"seed": None}),
    (LoraOptions, {"mode": "Lora"}),
    (LoraOptions, {"rank": "8"}),
    (ComputeOptions, {"precision": 3}),
    (EditOptions, {"alpha": NAN}),
    (GateOptions, {"retain_kl": "no"}),
    (EvaluateOptions, {"forget": 2.5}),
    (DataOptions, {"max_length": 1.5}),
    (LoadOptions, {"dtype": "fp32"}),
    (LoadOptions, {"trust_remote_code": "false"}),
    (Detector, {"layers": (2.0,)}),
    (Detector, {"layers": (0.5, NAN)}),
    (Detector, {"layers": 0.5}),
    (Trim, {"density": NAN}),
    (BatteryOptions, {"prompts": 1.5}),
    (Relearn, {"on": "edited"}),
]


@pytest.mark.parametrize(("kind", "options"), WRONG)
def test_wrong_values_are_one_line(kind: type, options: dict[str, Any]):
    (name,) = options
    with pytest.raises(ConfigError, match=name) as error:
        kind(**options)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_the_line_says_what_to_give():
    with pytest.raises(ConfigError, match=r"method\.pd_mode='DIVERGE': did you mean 'diverge'\?"):
        SKU(pd_mode="DIVERGE")
    with pytest.raises(ConfigError, match=r"train\.steps=3\.5: give a whole number"):
        TrainOptions(steps=3.5)


def test_unusual_values_that_are_right():
    assert TrainOptions(lr=1).lr == 1
    assert Detector(layers=[0.5, 1]).layers == (0.5, 1)
    assert SKU(gd_weight=2, pd_mode="off").gd_weight == 2


@dataclass(frozen=True)
@checked
class Ordinary:
    """Options of many types."""

    folder: Path = Path()
    kind: Literal["a", 1] = "a"
    both: tuple[int, str] = (1, "x")
    maybe: tuple[float, ...] | None = None
    most: float = INFINITE

    def __post_init__(self) -> None:
        if self.kind == 1 and self.maybe is None:
            raise ConfigError("maybe is needed")


@dataclass(frozen=True)
class Derived(Ordinary):
    """One option more, without a check of its own."""

    more: int = 0


def test_all_kinds_of_types_and_the_classes_own_check():
    one = Ordinary(folder="x", kind=1, both=(2, "y"), maybe=[1.0])
    assert one.folder == Path("x") and one.maybe == (1.0,) and one.most == INFINITE
    wrong = (
        {"kind": True},
        {"both": (1, 2)},
        {"both": (1,)},
        {"maybe": ("x",)},
        {"most": -INFINITE},
        {"folder": 3},
    )
    for options in wrong:
        with pytest.raises(ConfigError, match=next(iter(options))):
            Ordinary(**options)
        with pytest.raises(ConfigError, match=next(iter(options))):
            Derived(**options)
    with pytest.raises(ConfigError, match="maybe is needed"):
        Ordinary(kind=1)


def test_only_an_option_without_a_limit_may_be_infinite():
    assert SKU(pd_cap=float("inf")).pd_cap == float("inf")
    for options in ({"pd_cap": float("nan")}, {"gd_weight": float("inf")}):
        with pytest.raises(ConfigError, match="finite"):
            SKU(**options)
