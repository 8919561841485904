"""How training is computed: chunks, precision and sharding."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from skunlearn.models.reference import Reference
from skunlearn.training.gradient_cache import GradientCache
from skunlearn.training.launch import launcher_shards
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.distributed import world_size
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked_as


@dataclass(frozen=True)
@checked_as("compute")
class ComputeOptions:
    """How training is computed, to save memory or time.

    The results differ by rounding only; `precision` changes how much.

    Attributes:
        accumulate: in how many chunks each process takes its rows of a step (1 or more). Only the
            activations of one chunk are in memory, and each chunk goes through the body twice
            (gradient caching).
        gradient_checkpointing: keep only the inputs of each decoder layer, and recompute the layer
            in the backward pass.
        precision: of the matrix products. "auto" is bfloat16 on a GPU that supports it, otherwise
            float32. Trained weights and the optimizer's state are float32.
        shard: "fsdp" shards weights, gradients and optimizer state among the processes during
            training. A config of accelerate's launcher can request it too.
        tracker: an experiment tracker that logs the losses of each step, in addition to the run
            folder.
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
        """Whether weights, gradients and optimizer state are sharded, for any reason."""
        return self.shard == "fsdp" or launcher_shards()

    def gradient_cache(self, model: Any, layers: Sequence[float]) -> GradientCache:
        """The gradient cache for a model with these options.

        Args:
            model: the model to train.
            layers: decoder layers whose output the loss reads, as shares of the depth.
        """
        # With sharding, each batch would gather all weights again: one large batch is faster.
        grouped = not self.divides
        autocast = partial(self.autocast, model.device)
        return GradientCache(model, layers, self.accumulate, grouped, autocast)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which matrix products have the chosen precision on a device."""
        if self.precision == "auto":
            half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        else:
            half = self.precision == "bfloat16"
        # The cache of casts is off: a weight that was cast in a pass without gradients would have
        # no gradient in the next pass.
        return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    def prepare(self, trainable: TrainableModel, reference: Reference | None) -> None:
        """Shard the model and turn on gradient checkpointing, as the options say.

        Args:
            trainable: what is trained.
            reference: the base model's predictions, computed before. It computes logits with the
                head of the sharded model from now on.

        Raises:
            ConfigError: when the weights cannot be sharded, because there is only one process, or
                because they are in four bits.
        """
        if self.divides:
            self._check_sharding(trainable)
            trainable.shard()
            if reference:
                reference.model = trainable.model
        if self.gradient_checkpointing:
            trainable.checkpoint_layers()

    def _check_sharding(self, trainable: TrainableModel) -> None:
        if world_size() == 1:
            raise ConfigError(
                "compute.shard=fsdp shards weights among processes, and there is only one: "
                "add --processes 2"
            )
        if trainable.options.nf4:
            raise ConfigError(
                "compute.shard=fsdp cannot shard weights in four bits: "
                "leave out lora.nf4, or set compute.shard=none"
            )
