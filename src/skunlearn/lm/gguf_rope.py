"""Llama 3's rotary scaling in GGUF: a tensor of factors in the file, parameters in the config.

llama.cpp divides each frequency by its factor. transformers reads no such tensor, so that a model converted from a file
would turn its heads by other angles than the one that was written.
"""

from pathlib import Path
from typing import Any

import torch

from skunlearn.utils.errors import ModelError

NAME = "rope_freqs.weight"
USUAL = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def factors(config: Any) -> torch.Tensor:
    """Plain frequencies over scaled ones, (head_dim / 2,), of a config with rotary scaling "llama3"."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaled = LlamaRotaryEmbedding(config).inv_freq
    steps = torch.arange(len(scaled), dtype=torch.float32) / len(scaled)
    return config.rope_parameters["rope_theta"] ** -steps / scaled


def restore(config: Any, path: Path) -> None:
    """Put the scaling that a file's factors stand for into a config that transformers made of it.

    Raises:
        ModelError: when they are not those of Llama 3's scaling with its usual parameters.
    """
    import gguf

    found = next((tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == NAME), None)
    if found is None:
        return
    given = torch.tensor(found, dtype=torch.float32)
    scaling = {"rope_type": "llama3", "factor": float(given.max()), **USUAL}
    config.rope_parameters = {**config.rope_parameters, **scaling}
    if given.shape != (wanted := factors(config)).shape or not torch.allclose(wanted, given, rtol=1e-3):
        raise ModelError(f"{path}: its rotary scaling is not that of Llama 3: give the model as a folder or hub id")
