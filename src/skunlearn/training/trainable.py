"""Which weights are trained: LoRA factors on chosen layers, or the weights themselves."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from skunlearn.models.architecture import linear_modules, text_decoder
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.registry import did_you_mean


@dataclass(frozen=True)
class LoraOptions:
    """Which weights move.

    Attributes:
        mode: LoRA factors or the full weights.
        rank: rank of the LoRA factors (1 or more).
        alpha: LoRA's scale is alpha / rank; twice the rank when not given.
        modules: last names of the modules to train (`q_proj`, ...); all linear ones when empty.
        frozen: share of the layers that stays frozen, from the bottom (0..1); of those that the
            losses depend on.
        nf4: QLoRA: hold the frozen base in four bits (NF4, by bitsandbytes) while LoRA trains; the
            vector is float32, and strength, evaluation and export have the unquantised weights.
    """

    mode: Literal["lora", "full"] = "lora"
    rank: int = 16
    alpha: float | None = None
    modules: tuple[str, ...] = ()
    frozen: float = 1 / 3
    nf4: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora.rank={self.rank}: give 1 or more")
        if self.alpha is not None and not self.alpha > 0:
            raise ConfigError(f"lora.alpha={self.alpha}: give a number above 0")
        if not 0 <= self.frozen < 1:
            raise ConfigError(
                f"lora.frozen={self.frozen}: give a share of the layers, 0 or more and below 1"
            )
        if self.nf4 and self.mode == "full":
            raise ConfigError(
                "lora.nf4=true with lora.mode=full: weights of four bits cannot be trained: take lora"
            )


Trained = LoraOptions  # its name until 0.1; it goes with the next release


def trained_modules(model: Any, options: LoraOptions, depth: int | None = None) -> list[str]:
    """Full names of the linear modules that LoRA is put on.

    Args:
        model: the base.
        options: which weights move.
        depth: the losses see the lowest `depth` layers only, so that nothing above has a gradient;
            None for all.

    Raises:
        ConfigError: when a name in `options.modules` is none of the model's.
        ModelError: when the trained layers have no linear module.
    """
    inside = linear_modules(model)
    last_names = {name.rpartition(".")[2] for name in inside}
    if wrong := [name for name in options.modules if name not in last_names]:
        raise ConfigError(
            f"lora.modules: the model has no module '{wrong[0]}': {did_you_mean(wrong[0], last_names)}"
        )
    moving = trained_layers(model, options, depth)
    names = [
        name
        for name in inside
        if layer_of(name) in moving
        and (not options.modules or name.rpartition(".")[2] in options.modules)
    ]
    if not names:
        raise ModelError(
            "no linear module was found to put LoRA on: train in full with --set lora.mode=full"
        )
    return names


def trained_layers(model: Any, options: LoraOptions, depth: int | None = None) -> range:
    """The layers that move: of the lowest `depth` (all, for None) those that `frozen` leaves."""
    layers = {layer_of(name) for name, _ in text_decoder(model).named_parameters(prefix="body")} - {
        None
    }
    depth = len(layers) if depth is None else depth
    return range(int(depth * options.frozen), depth)


def moves_head(model: Any, options: LoraOptions, depth: int | None = None) -> bool:
    """Whether training changes the language head."""
    head = {id(parameter) for parameter in model.get_output_embeddings().parameters()}
    return options.mode == "full" and any(
        id(p) in head for p in trained_parameters(model, options, depth).values()
    )


def trained_parameters(
    model: Any, options: LoraOptions, depth: int | None = None
) -> dict[str, torch.nn.Parameter]:
    """In full mode: the parameters that move, of the text's decoder and its head. With layers that
    stay, the embeddings and the head stay too."""
    moving = trained_layers(model, options, depth)
    text = {
        id(p)
        for part in (text_decoder(model), model.get_output_embeddings())
        for p in part.parameters()
    }
    parts = {part for name, _ in model.named_parameters() for part in name.split(".")}
    if wrong := [name for name in options.modules if name not in parts]:
        raise ConfigError(
            f"lora.modules: the model has no module '{wrong[0]}': {did_you_mean(wrong[0], parts)}"
        )

    def moves(name: str) -> bool:
        layer = layer_of(name)
        chosen = not options.modules or any(part in options.modules for part in name.split("."))
        return chosen and (
            options.frozen == 0 and depth is None if layer is None else layer in moving
        )

    return {
        name: p
        for name, p in model.named_parameters()
        if id(p) in text and p.is_floating_point() and moves(name)
    }
