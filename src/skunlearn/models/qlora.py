"""QLoRA: LoRA is trained on a frozen base model in four bits.

The four-bit type is NF4 with double quantisation, by bitsandbytes (Dettmers et al.,
arXiv:2305.14314).
"""

from importlib.util import find_spec
from typing import Any

import torch

from skunlearn.utils.errors import ConfigError, ModelError

BLOCK = 64  # weights that share a scale


def nf4_options(device: str) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that load linear weights in four bits.

    Each weight is quantised as it is read, so that the whole model never exists in full precision.

    Args:
        device: where the model goes.

    Raises:
        ConfigError: if bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ConfigError("lora.nf4=true needs bitsandbytes: pip install 'skunlearn[quant]'")
    bfloat16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if bfloat16 else torch.float32,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def keep_layout(model: Any) -> None:
    """Let four-bit weights stay packed as they are.

    On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks a weight at its first pass without
    gradients, for a kernel of its own whose scales are in bfloat16. The same weights would then
    give other numbers with gradients than without.

    Args:
        model: loaded with `nf4_options`.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_rows(model: Any) -> None:
    """Refuse weights that bitsandbytes 0.50 reads wrongly on a CPU.

    There it takes the wrong scales for rows that are not a whole number of blocks.

    Args:
        model: loaded with `nf4_options`.

    Raises:
        ModelError: with the name of the first such module.
    """
    for name, module in model.named_modules():
        packed = hasattr(getattr(module, "weight", None), "quant_state")
        if packed and module.weight.device.type == "cpu" and module.in_features % BLOCK:
            raise ModelError(
                f"lora.nf4=true on a CPU: {name} has {module.in_features} inputs, no multiple of "
                f"{BLOCK}, which bitsandbytes reads wrongly there: leave out lora.nf4, or take a "
                "GPU"
            )


def true_shape(weight: torch.Tensor) -> torch.Size:
    """Return the shape of a weight before it was quantised.

    Args:
        weight: in any precision. The tensor of a four-bit one has the shape of its packed bytes.
    """
    state = getattr(weight, "quant_state", None)
    return weight.shape if state is None else state.shape
