"""A model with its tokenizer, from a folder, an adapter, a GGUF file or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from skunlearn.models.lm import LM
from skunlearn.models.locate import adapter_base, fingerprint, locate
from skunlearn.models.qlora import check_rows, keep_layout, nf4_options
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        device: "auto" takes cuda, then mps, then cpu.
        dtype: of the weights; "auto" keeps the checkpoint's own, but fp32 on a CPU.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.
        gated: send the hub token that `hf auth login` stored, for models that ask for it.
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
    """Load a causal model.

    Args:
        name: a built-in name, a folder, a GGUF file, or a hub id.
        options: device, type, revision, trust.
        progress: is told of downloads and conversions.
        nf4: linear weights in four bits, to train LoRA on.

    Raises:
        ModelError: when there is no such model, it cannot be loaded, or it has recurrent layers.
        ConfigError: when four bits are asked for and bitsandbytes is not installed.
    """
    options, progress = options or LoadOptions(), progress or Progress()
    where = locate(str(name), progress)
    model, tokenizer = checkpoint(
        adapter_base(where) or where, options, str(name), adapter=where, nf4=nf4
    )
    if getattr(model, "_is_stateful", False):
        raise ModelError(
            f"{name}: {type(model).__name__} has recurrent layers, which cannot be answered in batches here"
        )
    return LM(model, tokenizer, str(name), fingerprint(where), nf4)


def reload_unquantised(lm: LM, options: LoadOptions, progress: Progress) -> None:
    """Put the weights as they are on disk in place of those in four bits; nothing changes where
    they are none."""
    if lm.nf4:
        lm.model, lm.nf4 = None, False  # the one is gone before the other comes
        lm.model = load(lm.name, options, progress).model


def checkpoint(
    where: str,
    options: LoadOptions,
    name: str,
    kind: str = "AutoModelForCausalLM",
    adapter: str = "",
    nf4: bool = False,
) -> tuple[Any, Any]:
    """A model, on its device, and its tokenizer.

    Args:
        where: a folder with a model of its own, or a hub id.
        options: device, type, revision, trust.
        name: what the user asked for.
        kind: the class of transformers that loads it.
        adapter: a PEFT folder whose adapter is merged into the model, when it is not `where`
            itself.
        nf4: linear weights in four bits.

    Raises:
        ModelError: when it cannot be loaded.
        ConfigError: when four bits are asked for and bitsandbytes is not installed.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    device = best_device() if options.device == "auto" else options.device
    kept = "float32" if device == "cpu" else "auto"
    dtype = kept if options.dtype == "auto" else options.dtype
    common = {
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "token": _token(options),
    }
    if nf4 and adapter not in ("", where):
        raise ModelError(
            f"model '{name}': an adapter cannot be merged into four bits: merge it first (export)"
        )
    four_bits = nf4_options(device) if nf4 else {}
    with _explained(name):
        own = adapter not in ("", where) and (Path(adapter) / "tokenizer_config.json").is_file()
        tokenizer = transformers.AutoTokenizer.from_pretrained(adapter if own else where, **common)
        model = getattr(transformers, kind).from_pretrained(
            where, dtype=dtype, **four_bits, **common
        )
        if nf4:
            check_rows(model)
            keep_layout(model)
        else:
            model = model.to(device)
        if adapter not in ("", where):
            import peft

            model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return model, tokenizer


def read_config(where: str, options: LoadOptions, name: str) -> dict[str, Any]:
    """The values of a checkpoint's config.json, without its weights.

    Raises:
        ModelError: when it cannot be read.
    """
    import transformers

    with _explained(name):
        config, _ = transformers.PretrainedConfig.get_config_dict(
            where, revision=options.revision, token=_token(options)
        )
        return dict(config)


def skeleton(name: str, options: LoadOptions, progress: Progress | None = None) -> Any:
    """A model without its weights, on torch's meta device, from its config alone; in the type that
    the config names.

    Args:
        name: as for `load`; also the path of a config.json.
        options: revision, trust.
        progress: is told of downloads.

    Raises:
        ModelError: when there is no such config, or transformers knows no causal model of its kind.
    """
    import transformers

    where = locate(
        str(Path(name).parent) if Path(name).name == "config.json" else name, progress or Progress()
    )
    common: dict[str, Any] = {"trust_remote_code": options.trust_remote_code}
    with _explained(name), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(
            adapter_base(where) or where, revision=options.revision, token=_token(options), **common
        )
        return transformers.AutoModelForCausalLM.from_config(config, **common)


def best_device() -> str:
    """cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _token(options: LoadOptions) -> bool | None:
    return None if options.gated else False  # None sends the token that is stored, if there is one


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers, safetensors and the hub client raise a dozen kinds
        raise ModelError(f"model '{name}' cannot be loaded: {_reason(error, name)}") from error


def _reason(error: Exception, name: str) -> str:
    text = str(error)
    line = (text.strip().splitlines() or [type(error).__name__])[0][:160]
    if "trust_remote_code" in text:
        return f"it brings its own code: allow it with --set load.trust_remote_code=true ({line})"
    if "gated" in text.lower() or "401" in text or "403" in text:
        hint = "accept its terms there, log in with 'hf auth login', and for a model to edit add --set load.gated=true"
        return f"the hub refuses it: {hint} ({line})"
    if "connect" in text.lower() or "offline" in text.lower() or "resolve" in text.lower():
        return (
            f"the hub cannot be reached: download '{name}' elsewhere and pass its folder ({line})"
        )
    return line
