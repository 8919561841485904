"""A model with its tokenizer, from a folder, an adapter, a GGUF file or the hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from skunlearn.models.adapters import check_mergeable, from_hub, merged
from skunlearn.models.architecture import recurrent_layers
from skunlearn.models.complete import from_files
from skunlearn.models.files import check_files, has_tokenizer
from skunlearn.models.lm import LM
from skunlearn.models.locate import adapter_base, fingerprint, locate
from skunlearn.models.pairs import check_vocabulary
from skunlearn.models.qlora import check_rows, keep_layout, nf4_options
from skunlearn.utils.errors import ModelError, SkunlearnError, is_out_of_memory
from skunlearn.utils.options import checked_as
from skunlearn.utils.progress import Progress


@dataclass(frozen=True)
@checked_as("load")
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
    tokenizer_from: str | None = None,
) -> LM:
    """Load a causal language model.

    Args:
        name: a built-in name, a folder, a GGUF file, or a hub id.
        options: device, dtype, revision and trust.
        progress: reports downloads and conversions.
        nf4: load linear weights in four bits, to train LoRA on.
        tokenizer_from: the model whose tokenizer is taken where this one's folder has none.

    Raises:
        ModelError: if there is no such model, it cannot be loaded whole, its layers are recurrent,
            or its tokenizer has tokens that it has no embedding for.
        ConfigError: if four bits are chosen and bitsandbytes is not installed.
    """
    options = options or LoadOptions()
    progress = progress or Progress()
    where = locate(str(name), progress)
    fallback = locate(tokenizer_from, progress) if tokenizer_from else ""
    model, tokenizer = checkpoint(
        where, options, str(name), nf4=nf4, progress=progress, fallback=fallback
    )
    recurrent = recurrent_layers(model)
    if recurrent:
        # Padding would change the state of a recurrent layer, and rows could not leave a batch.
        raise ModelError(
            f"{name}: {type(model).__name__} has recurrent layers, for which skunlearn cannot "
            "generate in batches: choose a model with attention alone"
        )
    check_vocabulary(model, tokenizer, str(name))
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
    nf4: bool = False,
    progress: Progress | None = None,
    fallback: str = "",
) -> tuple[Any, Any]:
    """Load a model and its tokenizer. An adapter is merged into its base.

    Args:
        where: a folder with a model or an adapter, or the hub id of either.
        options: device, dtype, revision and trust.
        name: what the user called the model, for messages.
        kind: the class of transformers that loads it.
        nf4: load linear weights in four bits.
        progress: reports what was repaired.
        fallback: the folder or hub id whose tokenizer is taken if `where` has none; "" for none.

    Returns:
        The model, on its device, and the tokenizer.

    Raises:
        ModelError: if it cannot be loaded, or not every weight comes from its files.
        ConfigError: if four bits are chosen and bitsandbytes is not installed.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    progress = progress or Progress()
    device = best_device() if options.device == "auto" else options.device
    with _explained(name):
        base, adapters = _base_and_adapters(where, options)
        if nf4 and adapters:
            raise ModelError(
                f"model '{name}': an adapter cannot be merged into four bits: merge it first "
                "(export)"
            )
        for folder in (*adapters, base):
            if Path(folder).is_dir():
                check_files(Path(folder))
        for folder in adapters:
            check_mergeable(Path(folder))
        # The revision is one of the model that was named. An adapter on the hub is that model.
        of_adapter = adapters and not Path(where).is_dir()
        common = {
            "revision": None if of_adapter else options.revision,
            "trust_remote_code": options.trust_remote_code,
            "token": _token(options),
        }
        tokenizer = _tokenizer([*reversed(adapters), base], common)
        if tokenizer is None and fallback:
            fallback_base, fallback_adapters = _base_and_adapters(fallback, options)
            places = [*reversed(fallback_adapters), fallback_base]
            tokenizer = _tokenizer(places, common)
            progress.note(f"{name} has no tokenizer: that of {fallback} is used")
        if tokenizer is None:
            raise ModelError(
                f"{where}: no tokenizer in this folder (tokenizer.json, tokenizer.model or "
                "vocab.json): copy the tokenizer files of the model that it was made from there"
            )
        loader = getattr(transformers, kind)
        four_bits = nf4_options(device) if nf4 else {}
        model = from_files(
            loader, base, name, progress, dtype=_dtype(options, device), **four_bits, **common
        )
        if nf4:
            check_rows(model)
            keep_layout(model)
        else:
            model = model.to(device)
        for folder in adapters:
            model = merged(model, Path(folder), name, progress)
        return model, tokenizer


def _base_and_adapters(where: str, options: LoadOptions) -> tuple[str, list[str]]:
    """Return the whole model that a model is made from, and the adapters that change it, in order.

    Args:
        where: as `locate` returns it.
        options: revision and trust.
    """
    adapters: list[str] = []
    place = from_hub(where, options.revision, _token(options))
    base = adapter_base(place)
    while base is not None:
        adapters.insert(0, place)
        place = from_hub(base, None, _token(options))
        base = adapter_base(place)
    return place, adapters


def _tokenizer(places: Sequence[str], common: dict[str, Any]) -> Any:
    """Return the tokenizer of the first place that has one; None if none has.

    An adapter may bring a tokenizer of its own, with a chat template of its own.
    """
    import transformers

    for place in places:
        if not Path(place).is_dir() or has_tokenizer(Path(place)):
            return transformers.AutoTokenizer.from_pretrained(place, **common)
    return None


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
            _base_and_adapters(where, options)[0],
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
    except SkunlearnError:
        raise
    except Exception as error:
        raise ModelError(f"model '{name}' cannot be loaded: {_reason(error, name)}") from error


def _reason(error: Exception, name: str) -> str:
    """Return the first line of an error, with what to do about it where that is known."""
    if is_out_of_memory(error):
        return "it does not fit into memory: --set load.dtype=bfloat16 halves it"
    text = str(error)
    lines = text.strip().splitlines() or [type(error).__name__]
    line = next((line for line in lines if "size mismatch" in line), lines[0]).strip()[:160]
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
