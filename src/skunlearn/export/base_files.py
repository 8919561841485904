"""The base model's own files: where they are, which of them are copied, and their hashes."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skunlearn.models.complete import WRAPPED, from_files
from skunlearn.models.files import (
    ADAPTER,
    INDEX,
    SINGLE,
    TOKENIZER_FILES,
    has_safetensors,
    index_file,
    tensor_names,
    weight_files,
)
from skunlearn.models.hub import download
from skunlearn.models.loading import LoadOptions
from skunlearn.models.locate import locate
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

SAFETENSORS = (SINGLE, "model-*.safetensors", INDEX)
OLDER = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
BESIDE = ("config.json", "generation_config.json", *TOKENIZER_FILES, "LICENSE*", "NOTICE*")
CODE = "*.py"  # a model's own code, which is fetched and copied only when it is trusted


def base_files(name: str, options: LoadOptions, progress: Progress) -> Path:
    """Find the folder with a base model's own files.

    The files of a model on the hub are downloaded, or found in the hub's cache. Weights in the
    older pickle format are downloaded only when there are no safetensors.

    Args:
        name: a folder or file, a hub id, or a built-in model.
        options: how the run loads the model.
        progress: reports what is prepared.

    Raises:
        ModelError: when there is no such model.
    """
    where = locate(name, progress)
    if Path(where).is_dir():
        return Path(where)
    patterns = [*SAFETENSORS, *BESIDE, "README.md", ADAPTER]
    if options.trust_remote_code:
        patterns.append(CODE)
    try:
        found = _downloaded(where, options, patterns)
        return found if has_safetensors(found) else _downloaded(where, options, OLDER)
    except Exception as error:  # the hub client raises a dozen kinds
        raise ModelError(f"base '{name}' cannot be fetched from the hub: {error!s:.160}") from error


def _downloaded(repository: str, options: LoadOptions, patterns: Sequence[str]) -> Path:
    """The local folder with the files of a hub repository that match these patterns."""
    # None lets the client send the user's token, False sends none.
    token = None if options.gated else False
    return download(repository, patterns, options.revision, token)


def beside(folder: Path, trust_remote_code: bool = False) -> list[Path]:
    """A checkpoint's files other than weights: config, tokenizer, chat template and licence.

    Args:
        folder: the checkpoint.
        trust_remote_code: take the model's own code too.
    """
    patterns = [*BESIDE, CODE] if trust_remote_code else [*BESIDE]
    return sorted(path for path in _matching(folder, patterns) if path.is_file())


def _matching(folder: Path, patterns: Iterable[str]) -> set[Path]:
    """Paths in a folder that match any of the patterns."""
    found: set[Path] = set()
    for pattern in patterns:
        found.update(folder.glob(pattern))
    return found


@contextmanager
def as_safetensors(base: Path, options: LoadOptions, progress: Progress) -> Iterator[Path]:
    """A block with a folder that has the base's weights as safetensors.

    It is the base itself where possible. Otherwise the model is loaded and saved in a temporary
    folder, which is removed at the end of the block.

    Raises:
        ModelError: when the base is an adapter.
    """
    if has_safetensors(base) and not _is_wrapped(base):
        yield base
        return
    if (base / ADAPTER).is_file():
        raise ModelError(
            f"the run's base {base.name} is an adapter, which has no weights of its own to export: "
            "write the whole model with 'skunlearn run RUN/run.yaml --save'"
        )
    from transformers import AutoModelForCausalLM

    progress.note(
        f"{base.name} has no safetensors with the usual names: its weights are loaded and written "
        "as such first"
    )
    with tempfile.TemporaryDirectory() as scratch:
        trust = options.trust_remote_code
        model = from_files(
            AutoModelForCausalLM, str(base), base.name, dtype="auto", trust_remote_code=trust
        )
        model.save_pretrained(scratch)
        del model  # its memory is needed for the export
        yield Path(scratch)


def _is_wrapped(base: Path) -> bool:
    """Whether tensors carry the names that a wrapper of the model gave them."""
    for file in weight_files(base):
        for name in tensor_names(base / file):
            if WRAPPED.search(name):
                return True
    return False


def weight_hashes(base: Path, progress: Progress) -> dict[str, str]:
    """SHA-256 of the base's weight files, by file name."""
    names = weight_files(base)
    index = index_file(base)
    paths = sorted(base / name for name in (*names, *([index] if index else [])))
    return {path.name: file_sha256(path) for path in progress.over("hashing the base", paths)}
