"""LM: a causal model with its tokenizer and template."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from skunlearn.data.examples import Example
from skunlearn.data.template import Template
from skunlearn.lm.builtin import WHEELS, builtin_folder, gguf_folder
from skunlearn.lm.edit import check_at_rest, edited
from skunlearn.lm.generate import Sampling, batches, written_answers
from skunlearn.lm.nf4 import check_rows, keep_layout, nf4_options
from skunlearn.task_vector import TaskVector
from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import whole_folder
from skunlearn.utils.hashing import digest, sampled_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean

ADAPTER = "adapter_config.json"


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


class LM:
    """A causal language model.

    Attributes:
        model: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        name: what was asked for.
        template: how prompts are rendered and answers end.
        fingerprint: changes when the weights on disk do.
        nf4: whether the weights are in four bits, for training alone; see `unquantise`.
    """

    def __init__(
        self, model: Any, tokenizer: Any, name: str = "model", fingerprint: str = "", nf4: bool = False
    ) -> None:
        self.model = model.eval()
        self.nf4 = nf4
        self.tokenizer = tokenizer
        self.name = name
        self.fingerprint = fingerprint
        self.template = Template(tokenizer, _ends(model))

    def edited(self, tau: TaskVector) -> AbstractContextManager[None]:
        """A block inside which the model is `theta + tau`; the base comes back exactly."""
        return edited(self.model, tau)

    def apply(self, tau: TaskVector) -> None:
        """`theta <- theta + tau`, in place and for good.

        Raises:
            ModelError: when the vector does not fit, points at the bad model, or the model is edited for a while.
        """
        check_at_rest(self.model)
        tau.apply_to(self.model)

    def unquantise(self, options: LoadOptions, progress: Progress) -> None:
        """The weights as they are on disk, in place of those in four bits; nothing where they are none."""
        if self.nf4:
            self.model, self.nf4 = None, False  # the one is gone before the other comes
            self.model = load(self.name, options, progress).model

    def batches(self, examples: Sequence[Example]) -> list[list[int]]:
        """Numbers of the examples in batches of prompts of like length, for `answers`."""
        return batches([self.template.prompt_ids(example) for example in examples])

    def answers(self, examples: Sequence[Example], max_new_tokens: int, sampling: Sampling | None = None) -> list[str]:
        """Answers to one batch of examples, in order; greedy without `sampling`."""
        prompts = [self.template.prompt_ids(example) for example in examples]
        return written_answers(self.model, self.template, prompts, max_new_tokens, sampling)

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` loads; the folder appears when it is whole.

        Raises:
            ModelError: inside a block of `edited` or of an attack: what is temporary is never written.
        """
        check_at_rest(self.model)
        with whole_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)


def load(
    name: str | Path, options: LoadOptions | None = None, progress: Progress | None = None, nf4: bool = False
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
    model, tokenizer = checkpoint(_adapted(where) or where, options, str(name), adapter=where, nf4=nf4)
    if getattr(model, "_is_stateful", False):
        raise ModelError(
            f"{name}: {type(model).__name__} has recurrent layers, which cannot be answered in batches here"
        )
    return LM(model, tokenizer, str(name), fingerprint(where), nf4)


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
        adapter: a PEFT folder whose adapter is merged into the model, when it is not `where` itself.
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
    common = {"revision": options.revision, "trust_remote_code": options.trust_remote_code, "token": _token(options)}
    if nf4 and adapter not in ("", where):
        raise ModelError(f"model '{name}': an adapter cannot be merged into four bits: merge it first (export)")
    four_bits = nf4_options(device) if nf4 else {}
    with _explained(name):
        own = adapter not in ("", where) and (Path(adapter) / "tokenizer_config.json").is_file()
        tokenizer = transformers.AutoTokenizer.from_pretrained(adapter if own else where, **common)
        model = getattr(transformers, kind).from_pretrained(where, dtype=dtype, **four_bits, **common)
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
    """A model without its weights, on torch's meta device, from its config alone; in the type that the config names.

    Args:
        name: as for `load`; also the path of a config.json.
        options: revision, trust.
        progress: is told of downloads.

    Raises:
        ModelError: when there is no such config, or transformers knows no causal model of its kind.
    """
    import transformers

    where = locate(str(Path(name).parent) if Path(name).name == "config.json" else name, progress or Progress())
    common: dict[str, Any] = {"trust_remote_code": options.trust_remote_code}
    with _explained(name), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(
            _adapted(where) or where, revision=options.revision, token=_token(options), **common
        )
        return transformers.AutoModelForCausalLM.from_config(config, **common)


def _adapted(where: str) -> str | None:
    """The model that an adapter folder belongs to; None for a folder with a model of its own."""
    path = Path(where)
    if (path / "config.json").is_file() or not (path / ADAPTER).is_file():
        return None
    name = json.loads((path / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not name:
        raise ModelError(f"{path / ADAPTER}: no base_model_name_or_path: write the base's folder or hub id there")
    return locate(str(name), Progress())


def locate(name: str, progress: Progress) -> str:
    """A folder for `from_pretrained`, or the hub id itself.

    Raises:
        ModelError: when the name is neither built in, nor on disk, nor of a hub id's form.
    """
    path = Path(name).expanduser()
    if name in WHEELS and not path.exists():
        return str(builtin_folder(name, progress))
    if path.is_file() and path.suffix == ".gguf":
        return str(gguf_folder(path, progress))
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", ADAPTER)):
            raise ModelError(f"{path}: no config.json in this folder: give a checkpoint or adapter folder")
        return str(path)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"no model '{name}': give a folder, a .gguf file, a hub id like org/name, or a built-in name "
            f"({did_you_mean(name, WHEELS)})"
        )
    return name


def fingerprint(where: str) -> str:
    """Names, sizes, both ends and blocks in between of the weight files of a folder, and of the base that an adapter
    belongs to; the name itself for a hub id."""
    seen: list[Any] = [fingerprint(base)] if (base := _adapted(where)) else []
    for path in sorted(Path(where).glob("*")) if Path(where).is_dir() else []:
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja", ".model"):
            seen.append([path.name, path.stat().st_size, sampled_sha256(path)])
    return digest(seen or where)


def _ends(model: Any) -> list[int]:
    """The tokens at which the model's own generation config stops."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]


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
        return f"the hub cannot be reached: download '{name}' elsewhere and pass its folder ({line})"
    return line
