"""What a killed training needs to go on, in one private file: never a checkpoint that something
could load."""

import os
from pathlib import Path
from typing import Any

import torch

from skunlearn.training.fsdp import sharded_like, unsharded
from skunlearn.training.lora import TrainableModel
from skunlearn.utils.distributed import broadcast, rank


class Checkpoint:
    """The file, and the live objects whose state it keeps.

    With several processes the first one writes and reads it, whatever part of a weight each of them
    holds, so that training may go on with another number of them.

    Args:
        folder: where it is kept; nowhere for None.
        trainable: what is trained.
        optimizer: its state is kept.
        schedule: likewise.
        weights: likewise, as `last` and `terms`.
    """

    def __init__(
        self,
        folder: Path | None,
        trainable: TrainableModel,
        optimizer: Any,
        schedule: Any,
        weights: Any,
    ) -> None:
        self.path = folder / "training.pt" if folder else None
        self.trainable, self.optimizer, self.schedule, self.weights = (
            trainable,
            optimizer,
            schedule,
            weights,
        )

    def save(self, step: int) -> None:
        """Write it: so many steps are done."""
        if not broadcast(self.path is not None):
            return
        value = {
            "step": step,
            "parameters": {
                name: unsharded(p.detach()) for name, p in self.trainable.parameters.items()
            },
            "optimizer": unsharded(self.optimizer.state_dict()),
            "schedule": self.schedule.state_dict(),
            "weights": [self.weights.last, self.weights.terms],
        }
        if self.path is None or rank():
            return
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            torch.save(value, file)
        partial.replace(self.path)

    def restore(self) -> int:
        """Load the state and return the number of steps already done."""
        value = broadcast(self._read() if rank() == 0 else None)
        if value is None:
            return 0
        parameters = self.trainable.parameters
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(sharded_like(value["parameters"][name], parameter))
        for number, parameter in enumerate(parameters.values()):
            moments = value["optimizer"]["state"].get(number, {})
            value["optimizer"]["state"][number] = {
                key: sharded_like(moment, parameter) for key, moment in moments.items()
            }
        self.optimizer.load_state_dict(value["optimizer"])
        self.schedule.load_state_dict(value["schedule"])
        self.weights.last, self.weights.terms = value["weights"]
        return int(value["step"])

    def _read(self) -> Any:
        if self.path is None or not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)
