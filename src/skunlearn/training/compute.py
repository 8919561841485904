"""How training is computed: parts, precision, and what several processes divide."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from skunlearn.models.reference import Reference
from skunlearn.training.gradient_cache import GradientCache
from skunlearn.training.launch import launcher_shards
from skunlearn.training.lora import TrainableModel
from skunlearn.utils.distributed import world_size
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class ComputeOptions:
    """How training is computed: what fits, and what is fast. But for `precision`, results differ by
    rounding only.

    Attributes:
        accumulate: parts in which each process does its rows of a step (1 or more); with more, a
            part's activations alone are held, and each part goes through the body a second time.
        gradient_checkpointing: hold what goes into each decoder layer only, and compute the layer a
            second time.
        precision: of the matrix products in training; "auto" is bfloat16 on a GPU that has it, else
            float32. Weights that are trained, and their sums, are float32.
        shard: "fsdp" divides weights, gradients and optimiser state among the processes while they
            train; so does a config of accelerate's launcher that asks for it.
        tracker: where each step's losses are logged too, beside the run folder.
    """

    accumulate: int = 1
    gradient_checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    shard: Literal["none", "fsdp"] = "none"
    tracker: Literal["none", "tensorboard", "wandb", "trackio"] = "none"

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ConfigError(f"compute.accumulate={self.accumulate}: give 1 or more")

    @property
    def divides(self) -> bool:
        """Whether weights, gradients and optimiser state are divided, by `shard` or at the
        launcher's wish."""
        return self.shard == "fsdp" or launcher_shards()

    def gradient_cache(self, model: Any, layers: Sequence[float]) -> GradientCache:
        """How rows go through the body of this model."""
        divides = self.divides  # each pass gathers all weights anew
        return GradientCache(
            model, layers, self.accumulate, not divides, partial(self.autocast, model.device)
        )

    def autocast(self, device: torch.device) -> torch.autocast:
        """A block in which matrix products have the chosen precision."""
        best = device.type == "cuda" and torch.cuda.is_bf16_supported()
        half = best if self.precision == "auto" else self.precision == "bfloat16"
        # without the cache of casts: one made in a pass that keeps nothing would have no gradient
        # in the next
        return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    def prepare(self, trainable: TrainableModel, reference: Reference | None) -> None:
        """Make what is trained ready for it, once the base's predictions are known.

        Raises:
            ConfigError: when weights are to be divided among processes, and there is one, or they
                are in four bits.
        """
        if self.divides:
            if world_size() == 1:
                raise ConfigError(
                    "compute.shard=fsdp divides weights among processes, here is one: add --processes 2"
                )
            if trainable.options.nf4:
                raise ConfigError(
                    "compute.shard=fsdp cannot divide weights of four bits: leave out lora.nf4, or divide none"
                )
            trainable.shard()
            if reference:
                reference.model = trainable.model
        if self.gradient_checkpointing:
            trainable.checkpoint_layers()
