"""The private and undocumented names of transformers, peft, accelerate and torch in use here.

Such a name may change without notice in any release. Each has one small function here, whose
docstring says which public way is missing; no other file uses these names.
`tests/models/test_compat.py` fails when an installed release no longer has one of them.

The libraries are imported inside the functions, so that importing this file is cheap.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def attention_implementation(config: Any) -> str | None:
    """Return the name of the attention function that a model with this config calls.

    No public attribute: `attn_implementation` is an argument of `from_pretrained` and can't be read
    afterwards.

    Args:
        config: of the text decoder.
    """
    return config._attn_implementation


@contextmanager
def replaced_attention(config: Any, name: str) -> Iterator[None]:
    """A block inside which the modules with this config call another attention function.

    The public `set_attn_implementation` checks the whole model and also changes the configs nested
    in this one, which would not be set back to what each of them was.

    Args:
        config: of the text decoder. Its attention modules read it at each call.
        name: as registered with `transformers.AttentionInterface`.
    """
    before = config._attn_implementation
    config._attn_implementation_internal = name
    try:
        yield
    finally:
        config._attn_implementation_internal = before


def is_recurrent(model: Any) -> bool:
    """Return whether the model has recurrent layers (Mamba, RWKV) instead of a key-value cache.

    No public attribute says so; `generate` reads the same private one.
    """
    return bool(getattr(model, "_is_stateful", False))


def llama_inverse_frequencies(config: Any) -> torch.Tensor:
    """Return the inverse frequencies of Llama's rotary embedding after scaling, (head_dim / 2,).

    The public functions of transformers name the kinds of scaling but compute no frequencies.

    Args:
        config: of a Llama model, with `rope_parameters`.
    """
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    return LlamaRotaryEmbedding(config).inv_freq


def forget_quantisation(model: Any) -> None:
    """Make a model that transformers dequantised while loading count as an ordinary one.

    Otherwise `save_pretrained` refuses it, or writes a config that says the weights are quantised.
    The public `dequantize` is not implemented for GGUF.
    """
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None


def class_before_quantisation(module: Any) -> type | None:
    """Return the class that a four-bit linear module replaced; None for any other module.

    transformers puts bitsandbytes' linear module in place of GPT-2's `Conv1D` too, and nothing
    public says which of the two it was.
    """
    return getattr(module, "source_cls", None)


def parameter_names(model: Any, tensors: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the parameter that each tensor of a checkpoint is loaded into.

    These are the renamings that `from_pretrained` applies. No public function gives the names
    without loading the weights.

    Args:
        model: the model that the checkpoint belongs to; it may be on the meta device.
        tensors: names in the checkpoint's files. A tensor that is merged or split on loading has no
            counterpart and is left out.

    Yields:
        The name of the tensor and that of its parameter. Where parameters are tied, it is the name
        of the one that the others are tied to.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, rename_source_key

    converters = []
    renamings = []
    for change in get_model_conversion_mapping(model):
        if isinstance(change, WeightConverter):
            converters.append(change)
        else:
            renamings.append(change)
    parameters = dict(model.state_dict())
    tied = model.all_tied_weights_keys
    for tensor in tensors:
        renamed, converter = rename_source_key(
            tensor, renamings, converters, model.base_model_prefix, parameters
        )
        if converter is None:
            yield tensor, tied.get(renamed, renamed)


def forget_renaming(model: Any, patterns: Iterable[str]) -> None:
    """Let `save_pretrained` write the model's own names, not those that were renamed on loading.

    A `key_mapping` of `from_pretrained` is undone on saving, and nothing public turns that off.

    Args:
        model: loaded with a `key_mapping`.
        patterns: the keys of that `key_mapping`.
    """
    renamed = set(patterns)
    kept = []
    for change in model._weight_conversions:
        if not renamed.intersection(change.source_patterns):
            kept.append(change)
    model._weight_conversions = kept


def untie_head(model: Any) -> None:
    """Give the language head a weight of its own, equal to the embedding that it was tied to.

    The public `tie_word_embeddings` of the config is read when a model is made. What is tied in a
    model that exists, stands in private attributes, and `save_pretrained` leaves out what is tied.

    Args:
        model: whose head is tied to its embedding; either may be wrapped by PEFT.
    """
    head = model.get_output_embeddings()
    head = getattr(head, "base_layer", head)
    head.weight = torch.nn.Parameter(
        head.weight.detach().clone(), requires_grad=head.weight.requires_grad
    )
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}
    for module in model.modules():
        if getattr(module, "_tied_weights_keys", None):
            module._tied_weights_keys = {}


def revision_hash(config: Mapping[str, Any]) -> str | None:
    """Return the commit on the hub that a config came from; None for a folder.

    The public way, `HfApi.model_info`, needs the network even for a model that is in the cache.

    Args:
        config: the values that `PretrainedConfig.get_config_dict` returned.
    """
    return config.get("_commit_hash")


def name_in_config(config: Mapping[str, Any]) -> str:
    """Return the name or path that a checkpoint was loaded from before it was saved, or "".

    The public `PretrainedConfig.name_or_path` is overwritten on loading.

    Args:
        config: the values of a config.json.
    """
    return str(config.get("_name_or_path", ""))


def lora_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and module of each layer with LoRA, in the order of `named_modules`.

    The class is exported by `peft.tuners.lora` but not documented. Callers use its `lora_A`,
    `lora_B`, `scaling`, `merged`, `disable_adapters`, `base_layer` and `get_base_layer`.

    Args:
        model: any module; names are relative to it.
    """
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def read_as_experts(model: Any, last_names: Iterable[str]) -> set[str]:
    """Return the names of modules that PEFT would not adapt, but take for names of experts.

    For some mixtures of experts it turns `gate_proj` into the experts' stacked weights, as older
    releases of transformers had a module of that name in every expert. It does so for dense layers
    and shared experts too. The public `LoraConfig` cannot turn that off.

    Args:
        model: a transformers model; it may be on the meta device.
        last_names: the last parts of the modules' names.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    taken = set()
    for name in last_names:
        config = LoraConfig(target_modules=[name])
        try:
            convert_peft_config_for_transformers(config, model=model, conversions=None)
        except ValueError:  # one of two names that it would fuse
            taken.add(name)
            continue
        if config.target_parameters:
            taken.add(name)
    return taken


def tracker_class(name: str) -> Any:
    """Return accelerate's class for an experiment tracker.

    The public way, `Accelerator(log_with=name)`, sets up devices and processes as well.

    Args:
        name: such as "tensorboard" or "wandb".
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    return LOGGER_TYPE_TO_CLASS[name]
