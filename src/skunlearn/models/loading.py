"""A model with its tokenizer, from a folder, an adapter, a GGUF file or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from skunlearn.models.compat import is_recurrent
from skunlearn.models.lm import LM
from skunlearn.models.locate import adapter_base, fingerprint, locate
from skunlearn.models.qlora import check_rows, keep_layout, nf4_options
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        device: "auto" is the first available of cuda, mps and cpu.
        dtype: of the weights. "auto" is the checkpoint's own, and float32 on a CPU.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.
        gated: send the hub token that `hf auth login` stored, for models that require one.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    gated: bool = False


def load(
    name: str | Path,
    options: LoadOptions | None = None,
    progress: Progress | None = None,
    nf4: bool = False,
) -> LM:
    """Load a causal language model.

    Args:
        name: a built-in name, a folder, a GGUF file, or a hub id.
        options: device, dtype, revision and trust.
        progress: reports downloads and conversions.
        nf4: load linear weights in four bits, to train LoRA on.

    Raises:
        ModelError: if there is no such model, it cannot be loaded, or it has recurrent layers.
        ConfigError: if four bits are chosen and bitsandbytes is not installed.
    """
    options = options or LoadOptions()
    where = locate(str(name), progress or Progress())
    base = adapter_base(where)
    model, tokenizer = checkpoint(base or where, options, str(name), adapter=where, nf4=nf4)
    if is_recurrent(model):
        # Padding would change the state of a recurrent layer, and rows could not leave a batch.
        raise ModelError(
            f"{name}: {type(model).__name__} has recurrent layers, for which skunlearn cannot "
            "generate in batches: choose a model with attention alone"
        )
    return LM(model, tokenizer, str(name), fingerprint(where), nf4)


def reload_unquantised(lm: LM, options: LoadOptions, progress: Progress) -> None:
    """Replace weights in four bits by those on disk. A model without any stays as it is.

    Args:
        lm: loaded with `load`.
        options: as it was loaded with.
        progress: reports conversions.
    """
    if not lm.nf4:
        return
    # The old model is released before the new one is loaded: both may not fit in memory.
    lm.model = None
    lm.nf4 = False
    lm.model = load(lm.name, options, progress).model


def checkpoint(
    where: str,
    options: LoadOptions,
    name: str,
    kind: str = "AutoModelForCausalLM",
    adapter: str = "",
    nf4: bool = False,
) -> tuple[Any, Any]:
    """Load a model and its tokenizer.

    Args:
        where: a folder with a complete model, or a hub id.
        options: device, dtype, revision and trust.
        name: what the user called the model, for messages.
        kind: the class of transformers that loads it.
        adapter: a PEFT folder whose adapter is merged into the model; "" or `where` for none.
        nf4: load linear weights in four bits.

    Returns:
        The model, on its device, and the tokenizer.

    Raises:
        ModelError: if it cannot be loaded.
        ConfigError: if four bits are chosen and bitsandbytes is not installed.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    device = best_device() if options.device == "auto" else options.device
    has_adapter = adapter not in ("", where)
    if nf4 and has_adapter:
        raise ModelError(
            f"model '{name}': an adapter cannot be merged into four bits: merge it first (export)"
        )
    four_bits = nf4_options(device) if nf4 else {}
    common = {
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "token": _token(options),
    }
    with _explained(name):
        # An adapter may bring a tokenizer of its own, with a chat template of its own.
        own_tokenizer = has_adapter and (Path(adapter) / "tokenizer_config.json").is_file()
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            adapter if own_tokenizer else where, **common
        )
        loader = getattr(transformers, kind)
        model = loader.from_pretrained(where, dtype=_dtype(options, device), **four_bits, **common)
        if nf4:
            check_rows(model)
            keep_layout(model)
        else:
            model = model.to(device)
        if has_adapter:
            import peft

            model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return model, tokenizer


def read_config(where: str, options: LoadOptions, name: str) -> dict[str, Any]:
    """Return the values of a checkpoint's config.json, without loading its weights.

    Args:
        where: a folder or a hub id.
        options: revision and trust.
        name: what the user called the model, for messages.

    Raises:
        ModelError: if it cannot be read.
    """
    import transformers

    with _explained(name):
        config, _ = transformers.PretrainedConfig.get_config_dict(
            where, revision=options.revision, token=_token(options)
        )
        return dict(config)


def skeleton(
    name: str | Path, options: LoadOptions | None = None, progress: Progress | None = None
) -> Any:
    """Build a causal model on torch's meta device: all its modules and shapes, but no weights.

    Only the config is read. It also decides the dtype.

    Args:
        name: as for `load`, or the path of a config.json.
        options: revision and trust.
        progress: reports downloads.

    Returns:
        The model. A quantised checkpoint gives one with plain weights, whose `config` still has
        its `quantization_config`.

    Raises:
        ModelError: if there is no such config, or transformers has no causal model for it.
    """
    import transformers

    options = options or LoadOptions()
    path = Path(name)
    where = locate(str(path.parent if path.name == "config.json" else name), progress or Progress())
    trust = options.trust_remote_code
    with _explained(str(name)), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(
            adapter_base(where) or where,
            revision=options.revision,
            token=_token(options),
            trust_remote_code=trust,
        )
        return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=trust)


def best_device() -> str:
    """Return the first available of cuda, mps and cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(options: LoadOptions, device: str) -> str:
    """Return the dtype for `from_pretrained`: half precision is slow on a CPU."""
    if options.dtype != "auto":
        return options.dtype
    return "float32" if device == "cpu" else "auto"


def _token(options: LoadOptions) -> bool | None:
    """Return the hub client's argument `token`: None sends a stored token if there is one."""
    return None if options.gated else False


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """A block whose errors become a `ModelError` in one line.

    transformers, safetensors and the hub client raise a dozen kinds, so that it catches them all.
    """
    try:
        yield
    except Exception as error:
        raise ModelError(f"model '{name}' cannot be loaded: {_reason(error, name)}") from error


def _reason(error: Exception, name: str) -> str:
    """Return the first line of an error, with what to do about it where that is known."""
    text = str(error)
    lines = text.strip().splitlines() or [type(error).__name__]
    line = lines[0][:160]
    if "trust_remote_code" in text:
        return f"it brings its own code: allow it with --set load.trust_remote_code=true ({line})"
    lowered = text.lower()
    if "gated" in lowered or "401" in text or "403" in text:
        return (
            "the hub refuses it: accept its terms there, log in with 'hf auth login', and for a "
            f"model to edit add --set load.gated=true ({line})"
        )
    if "connect" in lowered or "offline" in lowered or "resolve" in lowered:
        return (
            f"the hub cannot be reached: download '{name}' elsewhere and pass its folder ({line})"
        )
    return line
