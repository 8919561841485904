"""What GGUF says about a model's architecture: its sizes, its heads and its rotary embedding."""

from typing import Any

import numpy as np

from skunlearn.models.gguf import factors
from skunlearn.utils.errors import ModelError

# model_type of the config -> GGUF's name of the architecture
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def check_architecture(config: Any) -> None:
    """Refuse what cannot be written.

    Raises:
        ModelError: for an unknown architecture or rotary scaling.
    """
    if config.model_type not in ARCHITECTURES:
        raise ModelError(
            f"no GGUF of a {config.model_type} is made here ({', '.join(ARCHITECTURES)} are): "
            "use merged"
        )
    rope = config.rope_parameters.get("rope_type", "default")
    if rope not in ("default", "llama3"):
        raise ModelError(
            f"no GGUF is made of rotary scaling '{rope}' here: "
            "export merged, and convert with llama.cpp"
        )


def add_shape(writer: Any, config: Any) -> None:
    """Write the sizes of the architecture."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def reordered_heads(config: Any, name: str) -> int:
    """Number of heads whose rows must be reordered in this tensor; 0 for none.

    GGUF's Llama has the rows of queries and keys in an order of its own, its Qwen has not.
    """
    if ARCHITECTURES[config.model_type] == "llama":
        if ".attn_q." in name:
            return int(config.num_attention_heads)
        if ".attn_k." in name:
            return int(config.num_key_value_heads)
    return 0


def rotary_scaling(config: Any) -> np.ndarray[Any, Any] | None:
    """What Llama 3 divides its rotary frequencies by; None where they are not scaled."""
    if config.rope_parameters.get("rope_type") != "llama3":
        return None
    scaling: np.ndarray[Any, Any] = factors(config).numpy()
    return scaling
