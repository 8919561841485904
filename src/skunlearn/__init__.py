"""skunlearn: make a language model forget harmful knowledge and keep the rest, with proof.

The public names below are imported when they are first used, so `import skunlearn` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from skunlearn.utils.lazy import lazy_names

if TYPE_CHECKING:
    from skunlearn.data.dataset import Data, DataOptions
    from skunlearn.evaluation.evaluator import Evaluation, evaluate
    from skunlearn.evaluation.options import EvaluateOptions
    from skunlearn.methods.refusal import Refusal
    from skunlearn.methods.sku import SKU
    from skunlearn.models.lm import LM
    from skunlearn.models.loading import LoadOptions, load
    from skunlearn.task_vectors.vector import TaskVector
    from skunlearn.training.lora import LoraOptions, Trained
    from skunlearn.training.train import TrainOptions, train
    from skunlearn.utils.errors import SkunlearnError
    from skunlearn.workflows.config import Run, make_run
    from skunlearn.workflows.run import run_job

_NAMES = {
    "Data": "skunlearn.data.dataset",
    "DataOptions": "skunlearn.data.dataset",
    "EvaluateOptions": "skunlearn.evaluation.options",
    "Evaluation": "skunlearn.evaluation.evaluator",
    "LM": "skunlearn.models.lm",
    "LoadOptions": "skunlearn.models.loading",
    "LoraOptions": "skunlearn.training.lora",
    "Refusal": "skunlearn.methods.refusal",
    "Run": "skunlearn.workflows.config",
    "SKU": "skunlearn.methods.sku",
    "SkunlearnError": "skunlearn.utils.errors",
    "TaskVector": "skunlearn.task_vectors.vector",
    "TrainOptions": "skunlearn.training.train",
    "Trained": "skunlearn.training.lora",
    "evaluate": "skunlearn.evaluation.evaluator",
    "load": "skunlearn.models.loading",
    "make_run": "skunlearn.workflows.config",
    "run_job": "skunlearn.workflows.run",
    "train": "skunlearn.training.train",
}
__all__ = list(_NAMES)


_lazy = lazy_names("skunlearn", _NAMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("skunlearn")
    return _lazy(name)


def __dir__() -> list[str]:
    return __all__
