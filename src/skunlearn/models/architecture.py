"""Where a model keeps its text decoder, its decoder layers and its linear modules.

A position between the bottom and the top of a model is given as a *share of the depth*, above 0 and
at most 1, so that one setting serves models with any number of layers. The share s of n decoder
layers means the output of layer round(s * n), counted from 1; 1 is the output of the last layer.
"""

from collections.abc import Iterable
from typing import Any

import torch
from transformers import Conv1D

from skunlearn.models.compat import is_recurrent, read_as_experts
from skunlearn.task_vectors.parameter_names import kind_of, layer_of
from skunlearn.utils.errors import ConfigError, DataError, ModelError

NO_LINEAR = "no linear module was found to put LoRA on: train in full with --set lora.mode=full"

# Kinds of layers, as configs list them, whose cache holds keys and values alone.
ATTENTION_KINDS = {
    "full_attention",
    "sliding_attention",
    "chunked_attention",
    "window_attention",
    "indexed_attention",
    "minimax_m3_sparse",
    "attention",
    "global",
    "local",
    "dense",
    "sparse",
    "moe",
}


def layer_number(model: Any, share: float) -> int:
    """Return the number of the decoder layer, from 0, whose output is at this share of the depth.

    Args:
        model: the model, with or without LoRA.
        share: above 0 and at most 1. A small share means the first layer.

    Raises:
        ConfigError: if the share is out of range.
        ModelError: if the decoder layers are not found.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"layer {share}: give a share of the depth, above 0 and at most 1")
    return max(round(share * len(decoder_layers(model))), 1) - 1


def layers_needed(model: Any, shares: Iterable[float]) -> int | None:
    """Return how many layers, from the bottom, the outputs at these shares of the depth depend on.

    Args:
        model: the model, with or without LoRA.
        shares: above 0 and at most 1 each.

    Returns:
        None if there are no shares.
    """
    return max((layer_number(model, share) + 1 for share in shares), default=None)


def text_decoder(model: Any) -> Any:
    """Return the body that computes text, also in a model of images and text.

    Args:
        model: the model, with or without LoRA.

    Returns:
        The whole model where its class names no decoder.
    """
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    return model if decoder is None else decoder


def is_tied(model: Any) -> bool:
    """Return whether the language head and the embedding are one tensor."""
    embedding = model.get_input_embeddings()
    head = model.get_output_embeddings()
    if embedding is None or head is None:
        return False
    embedding = getattr(embedding, "base_layer", embedding)
    head = getattr(head, "base_layer", head)
    return getattr(head, "weight", None) is getattr(embedding, "weight", True)


def max_positions(model: Any) -> float:
    """Return how many positions a model has learnt embeddings for.

    Args:
        model: a transformers model.

    Returns:
        Infinity where positions are computed (rotary embeddings, ALiBi).
    """
    for name, _ in model.named_modules():
        if name.rpartition(".")[2] in ("wpe", "embed_positions"):
            return float(model.config.get_text_config().max_position_embeddings)
    return float("inf")


def check_room(prompt_tokens: int, answer_tokens: int, most: float, where: str) -> None:
    """Check that a prompt and the answer to it fit into a model.

    Args:
        prompt_tokens: tokens of the prompt.
        answer_tokens: the most tokens that its answer may have.
        most: `max_positions` of the model.
        where: the prompt, for the message.

    Raises:
        DataError: when the prompt has no tokens, or both do not fit.
    """
    where = where or "a prompt"
    if not prompt_tokens:
        raise DataError(f"{where}: the prompt has no tokens: fill it in or delete the row")
    tokens = prompt_tokens + answer_tokens
    if tokens > most:
        raise DataError(
            f"{where}: prompt and answer would take {tokens} tokens, the model takes {most:.0f}: "
            "shorten the prompt"
        )


def recurrent_layers(model: Any) -> list[str]:
    """Return the kinds of layers that keep a state of their own beside keys and values.

    Padding would change such a state (Mamba, RWKV, linear attention, short convolutions), and a row
    could not leave a batch. They are recognised by the kinds of layers that the config lists, by
    the weights of such layers, and by what the model says of itself.

    Args:
        model: a transformers model, which may be on the meta device.

    Returns:
        What was found, for a message; nothing where there is attention alone.
    """
    found: list[str] = []
    for kind in getattr(model.config.get_text_config(), "layer_types", None) or ():
        if kind not in ATTENTION_KINDS and kind not in found:
            found.append(kind)
    for name, module in text_decoder(model).named_modules():
        kind = type(module).__name__
        is_stateful = isinstance(module, torch.nn.Conv1d) or hasattr(module, "A_log")
        # Convolutions outside the layers embed images or sound.
        if is_stateful and layer_of(name) is not None and kind not in found:
            found.append(kind)
    if not found and is_recurrent(model):
        found.append(type(model).__name__)
    return found


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """Return the layers of the text decoder, from the bottom.

    Each takes the residual stream and returns it, alone or as the first item of a tuple.

    Args:
        model: the model, with or without LoRA.

    Raises:
        ModelError: if there is no list of as many modules as the config has layers.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in text_decoder(model).modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return module
    raise ModelError(
        f"{type(model).__name__}: no list of {depth} decoder layers was found, so that no single "
        "layer can be read or changed: choose a method and attacks that need none (the attack "
        "'ablation' does)"
    )


def linear_modules(model: Any) -> dict[str, Any]:
    """Return the linear modules inside the text decoder's layers by full name.

    transformers' `Conv1D`, which GPT-2 has, counts as linear. A router that only inherits from a
    linear module does not, since it computes something else.

    Args:
        model: a transformers model.

    Raises:
        ModelError: if there is none.
    """
    in_decoder = {id(module) for module in text_decoder(model).modules()}
    linear = {}
    for name, module in model.named_modules():
        # Linear modules outside the layers are heads and projections of embeddings.
        if _is_linear(module) and layer_of(name) is not None and id(module) in in_decoder:
            linear[name] = module
    if not linear:
        raise ModelError(NO_LINEAR)
    return linear


def lora_modules(model: Any) -> dict[str, Any]:
    """Return the linear modules that LoRA can be put on: all but those that PEFT misreads.

    Args:
        model: a transformers model.

    Raises:
        ModelError: if there is none.
    """
    misread = modules_misread(model)
    chosen = {}
    for name, module in linear_modules(model).items():
        if kind_of(f"{name}.weight") not in misread:
            chosen[name] = module
    if not chosen:
        raise ModelError(NO_LINEAR)
    return chosen


def modules_misread(model: Any) -> set[str]:
    """Return the last names of linear modules that PEFT takes for a layer's experts.

    Args:
        model: a transformers model.
    """
    names = set()
    for name in linear_modules(model):
        names.add(kind_of(f"{name}.weight"))
    return read_as_experts(model, names)


def without_lora(model: Any) -> list[str]:
    """Return the matrices inside the text decoder's layers that LoRA cannot be put on.

    Args:
        model: a transformers model.

    Returns:
        The names within a layer, each once, such as "mlp.experts.gate_up_proj".
    """
    reached = {id(module.weight) for module in lora_modules(model).values()}
    names: list[str] = []
    for name, parameter in text_decoder(model).named_parameters(prefix="body"):
        inside = name.partition(f".{layer_of(name)}.")[2].removesuffix(".weight")
        if parameter.dim() > 1 and id(parameter) not in reached and inside not in names:
            names.append(inside)
    return [name for name in names if name]


def _is_linear(module: Any) -> bool:
    """Return whether a module computes what a linear layer does, and no more."""
    if not isinstance(module, torch.nn.Linear | Conv1D):
        return False
    # A model's own subclass with its own computation is a router or the like. The subclasses of
    # quantisation libraries compute the same as a linear layer.
    is_own = type(module).__module__.startswith(("transformers.models.", "transformers_modules."))
    plain = (torch.nn.Linear.forward, Conv1D.forward)
    return not is_own or type(module).forward in plain
