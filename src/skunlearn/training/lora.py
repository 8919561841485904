"""Which weights are trained: LoRA factors on chosen layers, or the weights themselves."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch

from skunlearn.models.architecture import lora_modules, text_decoder
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.options import checked_as
from skunlearn.utils.registry import did_you_mean

MOST_RANK = 65_536  # beyond the width of any model


@dataclass(frozen=True)
@checked_as("lora")
class LoraOptions:
    """Which weights are trained.

    Attributes:
        mode: "lora" trains LoRA factors, "full" the weights themselves.
        rank: rank of the LoRA factors (1 or more).
        alpha: LoRA's scale is alpha / rank (above 0); twice the rank when not given.
        modules: last names of the modules to train (`q_proj`, ...); all linear ones when empty.
        frozen: share of the layers, from the bottom, that is not trained (0..1, below 1). It counts
            only layers that the losses depend on.
        nf4: QLoRA: the frozen base model is held in four bits (NF4, by bitsandbytes) while LoRA
            trains. The vector is float32; strength, evaluation and export use the unquantised
            weights.
    """

    mode: Literal["lora", "full"] = "lora"
    rank: int = 16
    alpha: float | None = None
    modules: tuple[str, ...] = ()
    frozen: float = 1 / 3
    nf4: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= MOST_RANK:
            raise ConfigError(f"lora.rank={self.rank}: give 1 or more, at most {MOST_RANK}")
        if self.alpha is not None and not self.alpha > 0:
            raise ConfigError(f"lora.alpha={self.alpha}: give a number above 0")
        if not 0 <= self.frozen < 1:
            raise ConfigError(
                f"lora.frozen={self.frozen}: give a share of the layers, 0 or more and below 1"
            )
        if self.nf4 and self.mode == "full":
            raise ConfigError(
                "lora.nf4=true with lora.mode=full: weights of four bits cannot be trained: "
                "use lora.mode=lora"
            )


Trained = LoraOptions  # its name until 0.1; it goes with the next release


def trained_modules(model: Any, options: LoraOptions, depth: int | None = None) -> list[str]:
    """The full names of the linear modules that get LoRA factors.

    Args:
        model: the base model.
        options: which weights are trained.
        depth: how many layers, from the bottom, the losses depend on; None for all.

    Raises:
        ConfigError: when the model has no module with a name in `options.modules`.
        ModelError: when the trained layers have no linear module.
    """
    linear = lora_modules(model)
    _check_names(options, {_last_name(name) for name in linear})
    layers = trained_layers(model, options, depth)
    chosen: list[str] = []
    for name in linear:
        named = not options.modules or _last_name(name) in options.modules
        if named and layer_of(name) in layers:
            chosen.append(name)
    if not chosen:
        raise ModelError(
            "no linear module was found to put LoRA on: train in full with --set lora.mode=full"
        )
    return chosen


def trained_layers(model: Any, options: LoraOptions, depth: int | None = None) -> range:
    """The numbers of the layers that are trained.

    Args:
        model: the base model.
        options: how many of the layers are frozen.
        depth: how many layers, from the bottom, the losses depend on; None for all.
    """
    if depth is None:
        names = text_decoder(model).named_parameters(prefix="body")
        layers = {layer_of(name) for name, _ in names}
        depth = len(layers - {None})
    return range(int(depth * options.frozen), depth)


def trained_parameters(
    model: Any, options: LoraOptions, depth: int | None = None
) -> dict[str, torch.nn.Parameter]:
    """The parameters that full training changes, by name: of the text decoder and the head.

    Embeddings and head are trained only when all layers are.

    Args:
        model: the base model.
        options: which weights are trained.
        depth: how many layers, from the bottom, the losses depend on; None for all.

    Raises:
        ConfigError: when no part of a parameter's name is a name in `options.modules`.
    """
    parameters = dict(model.named_parameters())
    parts: set[str] = set()
    for name in parameters:
        parts.update(name.split("."))
    _check_names(options, parts)

    # Compare by identity, since the head may share its weight with the embeddings.
    text = set(map(id, text_decoder(model).parameters()))
    text.update(map(id, model.get_output_embeddings().parameters()))
    layers = trained_layers(model, options, depth)
    trains_all = options.frozen == 0 and depth is None

    chosen: dict[str, torch.nn.Parameter] = {}
    for name, parameter in parameters.items():
        layer = layer_of(name)
        inside = trains_all if layer is None else layer in layers
        named = not options.modules or not set(options.modules).isdisjoint(name.split("."))
        if id(parameter) in text and parameter.is_floating_point() and named and inside:
            chosen[name] = parameter
    return chosen


def moves_head(model: Any, options: LoraOptions, depth: int | None = None) -> bool:
    """Whether training changes the language head.

    Args:
        model: the base model.
        options: which weights are trained.
        depth: how many layers, from the bottom, the losses depend on; None for all.
    """
    if options.mode != "full":
        return False
    head = set(map(id, model.get_output_embeddings().parameters()))
    trained = trained_parameters(model, options, depth).values()
    return not head.isdisjoint(map(id, trained))


def _last_name(name: str) -> str:
    return name.rpartition(".")[2]


def _check_names(options: LoraOptions, known: Collection[str]) -> None:
    """Raise ConfigError for the first name in `options.modules` that is not known."""
    for name in options.modules:
        if name not in known:
            raise ConfigError(
                f"lora.modules: the model has no module '{name}': {did_you_mean(name, known)}"
            )
