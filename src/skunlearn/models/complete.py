"""Models whose every weight comes from the checkpoint's files.

`from_pretrained` fills what the files lack with random numbers, drops what it cannot place, and
only logs a warning. Here both are errors. Names that a wrapper of the model left in the files are
repaired, and a note says so.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from skunlearn.models.compat import forget_renaming
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

NAMED = 5  # names in a message
# What wrappers put into the names of tensors -> what stands there without them.
WRAPPERS = {
    r"_orig_mod\.": "",  # torch.compile
    r"_fsdp_wrapped_module\.": "",  # FullyShardedDataParallel
    r"_checkpoint_wrapped_module\.": "",  # checkpoint_wrapper of torch
    r"^module\.": "",  # DistributedDataParallel, DataParallel, DeepSpeed
    r"^base_model\.model\.": "",  # PEFT
    r"\.base_layer\.": ".",  # a layer of PEFT
}
WRAPPED = re.compile("|".join(WRAPPERS))
# Tensors that ordinary checkpoints have and causal models do not: constants that older versions
# stored, towers for images and sound, heads that predict further tokens or rewards, and scales of
# a quantised cache.
HARMLESS = re.compile(
    r"rotary_emb\.inv_freq$|(^|\.)attn\.bias$|(^|\.)attention\.bias$|masked_bias$"
    r"|position_ids$|(^|\.)mtp\.|^v_head\.|\.[kv]_scale$"
    r"|(^|\.)(visual|vision|vision_tower|vision_model|vision_encoder|vision_embed_tokens"
    r"|audio|audio_tower|audio_encoder|multi_modal_projector|mm_projector|image_newline"
    r"|embed_vision|embed_audio)(\.|$)"
)
# Buffers that a model computes when it is built.
COMPUTED = re.compile(r"inv_freq$|position_ids$|masked_bias$|(^|\.)(attn|attention)\.bias$")


def from_files(
    loader: Any, where: str, name: str, progress: Progress | None = None, **options: Any
) -> Any:
    """Load a model and check that its weights and those of the files are the same ones.

    Args:
        loader: a class with `from_pretrained`.
        where: a folder or hub id.
        name: what the user called the model, for messages.
        progress: reports repaired names.
        options: for `from_pretrained`.

    Raises:
        ModelError: if weights are missing, have other shapes, or fit nothing in the model.
    """
    model, info = _load(loader, where, options)
    surplus = [tensor for tensor in info["unexpected_keys"] if WRAPPED.search(tensor)]
    if surplus:
        del model  # its memory is needed
        model, info = _load(loader, where, {**options, "key_mapping": WRAPPERS})
        forget_renaming(model, WRAPPERS)
    _check(model, info, name)
    if surplus and progress:
        progress.note(
            f"{name}: its tensors are named as inside a wrapper ({min(surplus)}): "
            "the wrapper's part of the names is left out"
        )
    return model


def _load(loader: Any, where: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model, and what of it and of the files was left over."""
    # The table of the same facts that the library logs would come before the error's one line.
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_table)
    try:
        return loader.from_pretrained(
            where, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    finally:
        logger.removeFilter(_is_no_table)


def _is_no_table(record: logging.LogRecord) -> bool:
    """Return whether a message is another one than the report on loading."""
    return "LOAD REPORT" not in record.getMessage()


def _check(model: Any, info: dict[str, Any], name: str) -> None:
    """Check that nothing was left over.

    Args:
        model: just loaded.
        info: of `from_pretrained`; tied weights are not among the missing ones.
        name: what the user called the model.
    """
    mismatched = sorted(info["mismatched_keys"])
    if mismatched:
        tensor, stored, expected = mismatched[0]
        raise ModelError(
            f"model '{name}': '{tensor}' has shape {tuple(stored)} in the checkpoint, but "
            f"{tuple(expected)} in the model ({len(mismatched)} such): save the model again, whole"
        )
    missing = [tensor for tensor in info["missing_keys"] if not COMPUTED.search(tensor)]
    if missing:
        raise ModelError(
            f"model '{name}': {len(missing)} of its weights have no tensor in the checkpoint "
            f"({listed(missing)}): save the model again, whole and unwrapped"
        )
    # Quantised checkpoints have scales and the like, which only their own library knows.
    if getattr(model.config, "quantization_config", None):
        return
    surplus = [tensor for tensor in info["unexpected_keys"] if not HARMLESS.search(tensor)]
    if surplus:
        raise ModelError(
            f"model '{name}': {len(surplus)} tensors of the checkpoint fit nothing in "
            f"{type(model).__name__} ({listed(surplus)}): save the model again as that "
            "architecture, with adapters merged"
        )


def listed(names: Iterable[str]) -> str:
    """Return the first names in order, and how many more there are."""
    ordered = sorted(names)
    text = ", ".join(ordered[:NAMED])
    more = len(ordered) - NAMED
    return f"{text} and {more} more" if more > 0 else text
