"""What a finished run gives to an export: settings, results, task vectors, and the base they belong
to."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skunlearn.export.out_of_core import INDEX, SINGLE
from skunlearn.models.loading import LoadOptions
from skunlearn.models.locate import locate
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

SAFETENSORS = (SINGLE, "model-*.safetensors", INDEX)
OLDER = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
BESIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "chat_template*",
    "additional_chat_templates/*.jinja",
    "LICENSE*",
    "NOTICE*",
)


def base_files(name: str, options: LoadOptions, progress: Progress) -> Path:
    """The folder with the base's own files; those of a hub model are fetched or found in the hub's
    cache.

    Raises:
        ModelError: when there is no such model.
    """
    where = locate(name, progress)
    if Path(where).is_dir():
        return Path(where)
    from huggingface_hub import snapshot_download

    def fetched(patterns: Iterable[str]) -> Path:
        token = None if options.gated else False
        return Path(
            snapshot_download(
                where, revision=options.revision, token=token, allow_patterns=list(patterns)
            )
        )

    try:
        found = fetched(
            [*SAFETENSORS, *BESIDE, "README.md", *(["*.py"] if options.trust_remote_code else [])]
        )
        return found if has_safetensors(found) else fetched(OLDER)
    except Exception as error:  # the hub client raises a dozen kinds
        raise ModelError(f"base '{name}' cannot be fetched from the hub: {error!s:.160}") from error


def has_safetensors(folder: Path) -> bool:
    """Whether the weights can be read by rows."""
    return (folder / INDEX).is_file() or (folder / SINGLE).is_file()


def beside(folder: Path, trust_remote_code: bool = False) -> list[Path]:
    """A checkpoint's files other than weights: config, tokenizer, template, licence, and code that
    is trusted."""
    patterns = [*BESIDE, *(["*.py"] if trust_remote_code else [])]
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


@contextmanager
def as_safetensors(base: Path, options: LoadOptions, progress: Progress) -> Iterator[Path]:
    """A folder with the base's weights as safetensors: the base itself, or a copy made for the time
    of the block."""
    if has_safetensors(base):
        yield base
        return
    if (base / "adapter_config.json").is_file():
        raise ModelError(
            f"the run's base {base.name} is an adapter, which has no weights of its own to export: "
            "write the whole model with 'skunlearn run RUN/run.yaml --save'"
        )
    from transformers import AutoModelForCausalLM

    progress.note(
        f"{base.name} has no safetensors: its weights are loaded and written as such first"
    )
    with tempfile.TemporaryDirectory() as scratch:
        trust = options.trust_remote_code
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", trust_remote_code=trust)
        model.save_pretrained(scratch)
        del model
        yield Path(scratch)


def weight_hashes(base: Path, progress: Progress) -> dict[str, str]:
    """SHA-256 of the base's weight files by name."""
    patterns = SAFETENSORS if has_safetensors(base) else OLDER
    paths = sorted({path for pattern in patterns for path in base.glob(pattern)})
    return {path.name: file_sha256(path) for path in progress.over("hashing the base", paths)}
