"""The checkpoint of an interrupted training: one private file, which nothing loads as a model."""

import math
from pathlib import Path
from typing import Any

import torch

from skunlearn.training.fsdp import sharded_like, unsharded
from skunlearn.training.term_weights import TermWeights
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.distributed import broadcast, rank
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import whole_file
from skunlearn.utils.progress import Progress

# What a state consists of.
STATE = {"step", "parameters", "optimizer", "schedule", "weights"}


class Checkpoint:
    """The file, and the objects whose state it holds.

    The first process writes and reads it, with whole tensors, however they are sharded. A training
    can therefore be resumed with another number of processes.

    Args:
        folder: of the file; None for no checkpoint. Only the first process needs to know it.
        trainable: its parameters are saved.
        optimizer: its state is saved.
        schedule: its state is saved.
        weights: its attributes `last` and `terms` are saved.
    """

    def __init__(
        self,
        folder: Path | None,
        trainable: TrainableModel,
        optimizer: Any,
        schedule: Any,
        weights: TermWeights,
    ) -> None:
        self.path = folder / "training.pt" if folder else None
        self.trainable = trainable
        self.optimizer = optimizer
        self.schedule = schedule
        self.weights = weights

    def save(self, step: int) -> None:
        """Write the state after so many steps, in place of an earlier one."""
        if not broadcast(self.path is not None):
            return
        # Unsharding is collective: all processes take part, and the first one writes.
        parameters: dict[str, torch.Tensor] = {}
        for name, parameter in self.trainable.parameters.items():
            parameters[name] = unsharded(parameter.detach())
        value = {
            "step": step,
            "parameters": parameters,
            "optimizer": unsharded(self.optimizer.state_dict()),
            "schedule": self.schedule.state_dict(),
            "weights": [self.weights.last, self.weights.terms],
        }
        if self.path is None or rank() > 0:
            return
        # The file gets its name when it is complete, and only its owner may read it.
        if self.path.parent.is_symlink():
            raise RunError(f"{self.path.parent} is a link, which is not written through: delete it")
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        with whole_file(self.path) as partial, partial.open("wb") as file:
            torch.save(value, file)

    def restore(self, progress: Progress | None = None) -> int:
        """Load the state, if there is a file, and return the number of steps already done.

        A file that cannot be used is reported, and the training starts again.

        Args:
            progress: reports it.
        """
        value = broadcast(self._read(progress or Progress()) if rank() == 0 else None)
        if value is None:
            return 0
        parameters = self.trainable.parameters
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(sharded_like(value["parameters"][name], parameter))
        # The optimizer numbers the parameters. Its moments are sharded as they are.
        states = value["optimizer"]["state"]
        for number, parameter in enumerate(parameters.values()):
            moments = states.get(number, {})
            states[number] = {
                key: sharded_like(moment, parameter) for key, moment in moments.items()
            }
        self.optimizer.load_state_dict(value["optimizer"])
        self.schedule.load_state_dict(value["schedule"])
        self.weights.last, self.weights.terms = value["weights"]
        return int(value["step"])

    def _read(self, progress: Progress) -> Any:
        """The saved state; None when there is no file, or it does not fit this training."""
        if self.path is None or not self.path.exists():
            return None
        try:
            value = torch.load(self.path, map_location="cpu", weights_only=True)
            self._check(value)
        except Exception as error:  # of a file that was cut short or changed, torch raises anything
            lines = str(error).splitlines() or [type(error).__name__]
            progress.note(
                f"{self.path}: the state of the interrupted training cannot be used "
                f"({lines[0]:.80}): the training starts again"
            )
            return None
        return value

    def _check(self, value: Any) -> None:
        """Check that a state is one of this training, before anything is changed.

        Raises:
            Exception: of any kind, when it is not.
        """
        if set(value) != STATE:
            raise ValueError("it is no state of a training")
        if set(value["parameters"]) != set(self.trainable.parameters):
            raise ValueError("it has other parameters")
        moments = value["optimizer"]["state"]
        for number, (name, parameter) in enumerate(self.trainable.parameters.items()):
            tensors = [value["parameters"][name], *moments.get(number, {}).values()]
            for tensor in tensors:
                if tensor.ndim and tensor.shape != parameter.shape:
                    raise ValueError(f"its values of '{name}' have another shape")
                if not tensor.isfinite().all():
                    raise ValueError(f"its values of '{name}' are not finite")
        own = self.optimizer.state_dict()["param_groups"]
        for group, expected in zip(value["optimizer"]["param_groups"], own, strict=True):
            if set(group) != set(expected) or group["params"] != expected["params"]:
                raise ValueError("its optimizer is another one")
        if set(value["schedule"]) != set(self.schedule.state_dict()):
            raise ValueError("its schedule is another one")
        last, terms = value["weights"]
        for number in (value["step"], *last.values(), *terms.values()):
            if not math.isfinite(number):
                raise ValueError("its numbers are not finite")
