"""skunlearn: make a language model forget harmful knowledge and keep the rest, with proof.

The public names below are imported when they are first used, so `import skunlearn` costs nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skunlearn.data.dataset import Data, DataOptions
    from skunlearn.evaluation.evaluator import EvaluateOptions, Evaluation, evaluate
    from skunlearn.methods.refusal import Refusal
    from skunlearn.methods.sku import SKU
    from skunlearn.models.lm import LM
    from skunlearn.models.loading import LoadOptions, load
    from skunlearn.task_vectors.vector import TaskVector
    from skunlearn.training.train import TrainOptions, train
    from skunlearn.training.trainable import Trained
    from skunlearn.utils.errors import SkunlearnError
    from skunlearn.workflows.config import Run, make_run
    from skunlearn.workflows.run import run_job

_NAMES = {
    "Data": "data.dataset",
    "DataOptions": "data.dataset",
    "EvaluateOptions": "evaluation.evaluator",
    "Evaluation": "evaluation.evaluator",
    "LM": "models.lm",
    "LoadOptions": "models.loading",
    "Refusal": "methods.refusal",
    "Run": "workflows.config",
    "SKU": "methods.sku",
    "SkunlearnError": "utils.errors",
    "TaskVector": "task_vectors.vector",
    "TrainOptions": "training.train",
    "Trained": "training.trainable",
    "evaluate": "evaluation.evaluator",
    "load": "models.loading",
    "make_run": "workflows.config",
    "run_job": "workflows.run",
    "train": "training.train",
}
__all__ = list(_NAMES)


class _Lazy(ModuleType):
    """This package; `train` and `evaluate` are its functions although submodules have the same names."""

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"module 'skunlearn' has no attribute '{name}'")
        return getattr(importlib.import_module(f"skunlearn.{_NAMES[name]}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _NAMES and isinstance(value, ModuleType)):  # what the import of a submodule would do
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Lazy
