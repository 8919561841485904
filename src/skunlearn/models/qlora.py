"""QLoRA: the frozen base in four bits while LoRA is trained on it (Dettmers et al.,
arXiv:2305.14314)."""

from importlib.util import find_spec
from typing import Any

import torch

from skunlearn.utils.errors import ConfigError, ModelError

BLOCK = 64  # weights that share a scale


def nf4_options(device: str) -> dict[str, Any]:
    """What `from_pretrained` is told, so that linear weights come as NF4 by bitsandbytes, file by
    file.

    Raises:
        ConfigError: when bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ConfigError("lora.nf4=true needs bitsandbytes: pip install 'skunlearn[quant]'")
    half = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if half else torch.float32,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def keep_layout(model: Any) -> None:
    """Four-bit weights stay as they are packed. On a CPU with AVX512-BF16 bitsandbytes 0.50 repacks
    those that read without gradients, for a kernel of its own, with scales in bfloat16."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_rows(model: Any) -> None:
    """Every row is a whole number of blocks, on a CPU: bitsandbytes 0.50 takes wrong scales for
    others there.

    Raises:
        ModelError: when one is not.
    """
    for name, module in model.named_modules():
        packed = hasattr(getattr(module, "weight", None), "quant_state")
        if packed and module.weight.device.type == "cpu" and module.in_features % BLOCK:
            raise ModelError(
                f"lora.nf4=true on a CPU: {name} has {module.in_features} inputs, no multiple of {BLOCK}, which "
                "bitsandbytes reads wrongly there: leave out lora.nf4, or take a GPU"
            )


def true_shape(weight: torch.Tensor) -> torch.Size:
    """The shape of a weight, of one in four bits too, whose own is that of its packed bytes."""
    state = getattr(weight, "quant_state", None)
    return weight.shape if state is None else state.shape
