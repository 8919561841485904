"""PEFT adapters: which folders are one, what it is an adapter of, and merging it into its base."""

import re
from pathlib import Path
from typing import Any

import torch

from skunlearn.models import hub
from skunlearn.models.architecture import is_tied
from skunlearn.models.compat import untie_head
from skunlearn.models.complete import listed
from skunlearn.models.files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    TOKENIZER_FILES,
    check_is_no_stand_in,
    weight_files,
)
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress
from skunlearn.utils.strict_json import parse_json

PREFIX = "base_model.model."
FETCHED = ("adapter_*", *TOKENIZER_FILES)
# What compiled or distributed models put into the names of an adapter's tensors.
WRAPPED = re.compile(
    r"_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\."
    r"|^module\.(?=base_model\.)|(?<=^base_model\.model\.)module\."
)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter.

    Raises:
        ModelError: if it holds the weights of a whole model as well.
    """
    if not (folder / ADAPTER).is_file():
        return False
    whole = weight_files(folder)
    if whole and _stored(folder) is None:
        return False
    if whole:
        raise ModelError(
            f"{folder}: it holds a whole model ({whole[0]}) and an adapter ({ADAPTER}): "
            "move one of them into a folder of its own"
        )
    return True


def settings(folder: Path) -> dict[str, Any]:
    """Return the values of an adapter's config.

    Raises:
        ModelError: if it is not a JSON object.
    """
    path = folder / ADAPTER
    check_is_no_stand_in(path)
    return dict(
        parse_json(
            path.read_bytes(), str(path), ModelError, expected=dict, advice=": fetch it again"
        )
    )


def from_hub(where: str, revision: str | None, token: bool | None) -> str:
    """Return the local folder of an adapter on the hub; anything else stays as it is.

    Args:
        where: as `locate` returns it.
        revision: branch, tag or commit.
        token: False sends no token, None sends a stored one if there is one.
    """
    if Path(where).is_dir() or not hub.has_file(where, ADAPTER, revision, token):
        return where
    return str(hub.download(where, FETCHED, revision, token))


def check_mergeable(folder: Path) -> None:
    """Check that an adapter changes weights and nothing else, before its base is loaded.

    Raises:
        ModelError: if it cannot be merged into weights, or has no file of weights.
    """
    import peft

    found = settings(folder)
    kind = str(found.get("peft_type"))
    known = {item.value for item in peft.PeftType}
    if kind not in known:
        raise ModelError(
            f"{folder}: its kind of adapter ({kind}) is unknown to peft {peft.__version__}"
        )
    config = peft.get_peft_config({"peft_type": kind})
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(
            f"{folder}: an adapter of virtual tokens ({kind}) cannot be merged into weights: "
            "give one that changes weights, such as LoRA"
        )
    if found.get("alora_invocation_tokens"):
        raise ModelError(
            f"{folder}: an adapter that only some tokens activate cannot be merged into weights"
        )
    if _stored(folder) is None:
        raise ModelError(
            f"{folder}: no {ADAPTER_WEIGHTS[0]} in this folder: fetch the adapter again"
        )


def _stored(folder: Path) -> Path | None:
    """Return the file with an adapter's weights."""
    for name in ADAPTER_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    return None


def merged(model: Any, folder: Path, name: str, progress: Progress) -> Any:
    """Merge an adapter into its base.

    Args:
        model: the base. It is changed in place.
        folder: of the adapter; see `check_mergeable`.
        name: what the user called the model, for messages.
        progress: reports repaired names.

    Returns:
        The model without adapter, which computes what the base with its adapter does.

    Raises:
        ModelError: if not every weight of the adapter is in the folder, or one fits nothing.
    """
    import peft

    config = peft.PeftConfig.from_pretrained(folder)
    config.inference_mode = True
    was_tied = is_tied(model)
    adapted = peft.get_peft_model(model, config)
    stored = peft.load_peft_weights(str(folder), device=str(model.device))
    tensors = {}
    for tensor, value in stored.items():
        tensors[_usual_name(tensor)] = value
    _put(tensors, adapted, folder)
    if set(tensors) != set(stored):
        progress.note(
            f"{name}: the adapter's tensors have unusual names ({min(set(stored) - set(tensors))}"
            "): they are read as those that PEFT writes"
        )
    # An adapter on the embedding changes the embedding alone. Where the head is the same tensor,
    # it needs its own before the change is added to that tensor.
    wrapped = type(model.get_input_embeddings()).__module__.startswith("peft.")
    wrapped = wrapped or type(model.get_output_embeddings()).__module__.startswith("peft.")
    if was_tied and wrapped and is_tied(model):
        untie_head(model)
    return adapted.merge_and_unload()


def _usual_name(tensor: str) -> str:
    """Return the name under which PEFT saves this tensor of an adapter."""
    plain = WRAPPED.sub("", tensor)
    # The names in a state dict have that of the adapter in them, and a file's have not.
    plain = re.sub(r"(?<=\.)(lora_[A-Za-z_]+|modules_to_save)\.default(?=\.|$)", r"\1", plain)
    plain = plain.replace(".modules_to_save.", ".")
    return plain if plain.startswith("base_model.") else PREFIX + plain


def _put(tensors: dict[str, torch.Tensor], adapted: Any, folder: Path) -> None:
    """Load an adapter's tensors into a model that PEFT has wrapped for it.

    Raises:
        ModelError: if one of them fits nothing, or one is missing.
    """
    import peft

    try:
        found = peft.set_peft_model_state_dict(adapted, tensors)
    except KeyError as error:
        # PEFT looks up the whole modules that an adapter saves without asking whether they exist.
        raise ModelError(f"{folder}: the adapter has no tensor {error}: save it again") from error
    surplus = list(found.unexpected_keys)
    if surplus:
        count = f"{len(surplus)} of its {len(tensors)} tensors fit nothing in the model"
        if len(surplus) == len(tensors):
            count = f"none of its {len(tensors)} tensors fits the model, it would have no effect"
        raise ModelError(
            f"{folder}: {count} ({listed(surplus)}): give the base that the adapter was trained on"
        )
    missing = []
    for name in found.missing_keys:
        # All others belong to the base. Vectors that several layers share are stored once.
        is_shared = "vblora_vector_bank" in name or "tinylora_v" in name or "unilora_" in name
        if name.endswith((".default", ".default.weight", ".default.bias")) and not is_shared:
            missing.append(name)
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of the adapter's weights have no tensor in its file "
            f"({listed(missing)}): save the adapter again"
        )
