"""Where a model keeps its text decoder, its layers and its linear modules."""

from collections.abc import Iterable
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.errors import ConfigError, ModelError


def layer_number(model: Any, share: float) -> int:
    """The decoder layer, from 0, behind which this share of the depth has been passed.

    Raises:
        ConfigError: when the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"layer {share}: give a share of the depth, above 0 and at most 1")
    return max(round(share * len(decoder_layers(model))), 1) - 1


def layers_needed(model: Any, shares: Iterable[float]) -> int | None:
    """How many layers, from the bottom, a loss on the outputs of these layers depends on; None when
    there are none."""
    return max((layer_number(model, share) + 1 for share in shares), default=None)


def text_decoder(model: Any) -> Any:
    """The decoder of text, in a model of images and text too; the whole model where it names
    none."""
    found = model.get_decoder() if hasattr(model, "get_decoder") else None
    return model if found is None else found


def max_positions(model: Any) -> float:
    """How many tokens a model has learnt places for; infinite where places are computed."""
    learnt = any(
        name.rpartition(".")[2] in ("wpe", "embed_positions") for name, _ in model.named_modules()
    )
    return float(model.config.get_text_config().max_position_embeddings) if learnt else float("inf")


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The layers of the body, from the bottom.

    Raises:
        ModelError: when none are found.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in text_decoder(model).modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return module
    raise ModelError(
        f"{type(model).__name__}: no list of {depth} decoder layers was found: take a method that reads none"
    )


def linear_modules(model: Any) -> dict[str, Any]:
    """The linear modules inside the text decoder's layers by full name, transformers' Conv1D among
    them.

    Raises:
        ModelError: when there is none.
    """
    text = {id(module) for module in text_decoder(model).modules()}
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and layer_of(name) is not None
        and id(module) in text
    }
    if not found:
        raise ModelError(
            "no linear module was found to put LoRA on: train in full with --set lora.mode=full"
        )
    return found
