"""The checkpoint of an interrupted training: one private file, which nothing loads as a model."""

import os
from pathlib import Path
from typing import Any

import torch

from skunlearn.training.fsdp import sharded_like, unsharded
from skunlearn.training.term_weights import TermWeights
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.distributed import broadcast, rank


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
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            torch.save(value, file)
        partial.replace(self.path)

    def restore(self) -> int:
        """Load the state, if there is a file, and return the number of steps already done."""
        value = broadcast(self._read() if rank() == 0 else None)
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

    def _read(self) -> Any:
        """The saved state; None when there is no file."""
        if self.path is None or not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)
