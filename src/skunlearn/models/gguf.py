"""GGUF files converted to ordinary checkpoints, with Llama 3's rotary scaling restored.

transformers dequantises the weights of a GGUF file. But it ignores the tensor in which llama.cpp
keeps Llama 3's rotary scaling, so that the model would rotate queries and keys by other angles than
the one that was written. llama.cpp divides each frequency by its factor in that tensor; here the
factors are turned back into the parameters that transformers has for them in its config.
"""

from pathlib import Path
from typing import Any

import torch

from skunlearn.models.compat import forget_quantisation, llama_inverse_frequencies
from skunlearn.models.files import check_is_no_stand_in
from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import cache_folder, whole_folder
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

NAME = "rope_freqs.weight"
USUAL = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def factors(config: Any) -> torch.Tensor:
    """Return plain rotary frequencies divided by scaled ones, (head_dim / 2,).

    Args:
        config: of a Llama model whose rotary scaling is "llama3".
    """
    scaled = llama_inverse_frequencies(config)
    steps = torch.arange(len(scaled), dtype=torch.float32) / len(scaled)
    return config.rope_parameters["rope_theta"] ** -steps / scaled


def restore(config: Any, path: Path) -> None:
    """Put the rotary scaling of a GGUF file into a config that transformers made from the file.

    A file without scaling factors leaves the config as it is.

    Args:
        config: is changed in place.
        path: the GGUF file.

    Raises:
        ModelError: if the factors are not those of Llama 3's scaling with its usual parameters.
    """
    import gguf

    stored = None
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name == NAME:
            stored = tensor.data
            break
    if stored is None:
        return
    given = torch.tensor(stored, dtype=torch.float32)
    # The lowest frequencies are divided by the whole factor, and no other by more. The remaining
    # parameters are assumed, and the factors that follow from all of them are compared.
    scaling = {"rope_type": "llama3", "factor": float(given.max()), **USUAL}
    config.rope_parameters = {**config.rope_parameters, **scaling}
    expected = factors(config)
    if given.shape != expected.shape or not torch.allclose(expected, given, rtol=1e-3):
        raise ModelError(
            f"{path}: its rotary scaling is not that of Llama 3: give the model as a folder or hub "
            "id"
        )


def check_is_whole(path: Path) -> None:
    """Check that a GGUF file holds a whole model, not one part of a split one.

    Raises:
        ModelError: if it is a part, or stands in for the file.
    """
    import gguf

    check_is_no_stand_in(path)
    try:
        fields = gguf.GGUFReader(path).fields
    except Exception as error:  # numpy's and gguf's own for a file that is cut short
        raise ModelError(
            f"{path}: not a readable GGUF file ({error!s:.80}): fetch it again"
        ) from error
    count = fields.get("split.count")
    if count is None or int(count.contents()) <= 1:
        return
    number = fields.get("split.no")
    shard = int(number.contents()) + 1 if number is not None else 1
    raise ModelError(
        f"{path}: this is shard {shard} of {int(count.contents())} of a split GGUF file, which is "
        "not read: join the shards with 'llama-gguf-split --merge' and give the whole file"
    )


def convert_gguf(path: Path, folder: Path) -> None:
    """Dequantise a GGUF file to a float32 checkpoint with tokenizer and chat template.

    Args:
        path: the GGUF file.
        folder: where the checkpoint is written.

    Raises:
        ModelError: if transformers cannot read the file.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    check_is_whole(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model, info = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # gguf, tokenizers and transformers each raise their own
        raise ModelError(
            f"{path}: transformers cannot dequantise this GGUF file: {error}"
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{path}: {len(missing)} of the model's weights have no tensor in this file, the first "
            f"is {missing[0]}: fetch it again"
        )
    restore(model.config, path)
    forget_quantisation(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def gguf_folder(path: Path, progress: Progress) -> Path:
    """Return the checkpoint that a GGUF file was converted to, in the cache by the file's hash.

    Args:
        path: the GGUF file. It is converted if it is not in the cache yet.
        progress: reports the conversion.

    Raises:
        ModelError: if the file cannot be converted.
    """
    check_is_whole(path)
    folder = cache_folder() / f"gguf-{file_sha256(path)[:16]}"
    if not folder.is_dir():
        progress.note(f"converting {path.name} (once) into {folder}")
        with whole_folder(folder) as partial:
            convert_gguf(path, partial)
    return folder
