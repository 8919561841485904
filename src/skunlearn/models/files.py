"""The files of a checkpoint folder: which of them hold its weights, and whether they are whole.

Loading, exporting, hashing and verifying all take the files that `weight_files` names, so that they
never read two different models from one folder.
"""

import zipfile
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ModelError
from skunlearn.utils.strict_json import parse_json, strict_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
OLDER_SINGLE, OLDER_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
TOKENIZER_FILES = (  # patterns of a tokenizer with its chat templates
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "chat_template*",
    "additional_chat_templates/*.jinja",
)

VOCABULARIES = (
    "tokenizer.json",
    "vocab.*",
    "*.model",
    "tekken.json",
    "*.tiktoken",
    "*.spm",
    "tokenization_*.py",
)
OF_BYTES = ("ByT5Tokenizer", "CanineTokenizer")  # tokenizers without a file of their vocabulary

LENGTH_BYTES = 8  # of the length at the beginning of a safetensors file
POINTER = b"version https://git-lfs"
# Files that are read when a model is loaded. The small ones may be pointers as well.
SUFFIXES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".gguf")
START_BYTES = 64


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files with a checkpoint's weights; none if it has no weights.

    Safetensors go before the older pickle files.

    Args:
        folder: of the checkpoint.

    Raises:
        ModelError: if there are two saves, or an index names a file that is not there.
    """
    for single, index in ((SINGLE, INDEX), (OLDER_SINGLE, OLDER_INDEX)):
        names = _files_of_one_kind(folder, single, index)
        if names:
            return names
    return []


def has_safetensors(folder: Path) -> bool:
    """Return whether a folder's weights are safetensors, which can be read by rows."""
    return (folder / INDEX).is_file() or (folder / SINGLE).is_file()


def index_file(folder: Path) -> str:
    """Return the name of the index of a checkpoint's weights, or "" if it has none."""
    index = INDEX if has_safetensors(folder) else OLDER_INDEX
    return index if (folder / index).is_file() else ""


def _files_of_one_kind(folder: Path, single: str, index: str) -> list[str]:
    """Return the names of the safetensors or of the pickle files."""
    has_single = (folder / single).is_file()
    if not (folder / index).is_file():
        return [single] if has_single else []
    names = _named_by(folder / index)
    if names == [single] and has_single:
        return names
    absent = []
    for name in names:
        # A name with folders in it could lead out of the checkpoint.
        if Path(name).name != name or not (folder / name).is_file():
            absent.append(name)
    if has_single and len(absent) == len(names):
        # The index was left behind by a save whose shards are gone.
        return [single]
    if has_single:
        raise ModelError(
            f"{folder}: it holds two saves of the weights, {single} and the shards of {index}: "
            "move one of them away"
        )
    if absent:
        raise ModelError(
            f"{folder / absent[0]}: the index names it, but it is not there: fetch it again"
        )
    return names


def _named_by(index: Path) -> list[str]:
    """Return the sorted names of the files in an index."""
    check_is_no_stand_in(index)
    try:
        weight_map = strict_json(index.read_bytes(), str(index))["weight_map"]
        return sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index}: not a readable index ({error!s:.80}): fetch it again"
        ) from error


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has the vocabulary of a tokenizer.

    Without one, transformers makes an empty tokenizer of the model's family for some families.
    """
    for pattern in VOCABULARIES:
        if list(folder.glob(pattern)):
            return True
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return False
    advice = ": fetch it again"
    found = parse_json(path.read_bytes(), str(path), ModelError, expected=dict, advice=advice)
    return "auto_map" in found or found.get("tokenizer_class") in OF_BYTES


def check_files(folder: Path) -> None:
    """Check that the files of a model or adapter folder are whole, without reading the weights.

    Args:
        folder: with a checkpoint, an adapter, or both.

    Raises:
        ModelError: with the first file that is cut short, empty, or stands in for another one.
    """
    for path in sorted(folder.glob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            check_is_no_pointer(path)
    names = weight_files(folder)
    for name in ADAPTER_WEIGHTS:
        if (folder / name).is_file():
            names.append(name)
    for name in names:
        path = folder / name
        check_is_no_stand_in(path)
        if path.suffix == ".safetensors":
            _check_length(path)
        elif _begins_as_zip(path) and not zipfile.is_zipfile(path):
            raise ModelError(f"{path}: it is cut short: fetch it again")


def _begins_as_zip(path: Path) -> bool:
    """Return whether a file begins as torch's pickle files do, whose contents end the file."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def check_is_no_pointer(path: Path) -> None:
    """Check that a file is no pointer of git-lfs.

    Raises:
        ModelError: if it is.
    """
    if _start(path).startswith(POINTER):
        raise ModelError(
            f"{path}: it is a pointer of git-lfs, not the file itself: run 'git lfs pull' there"
        )


def check_is_no_stand_in(path: Path) -> None:
    """Check that a file is not empty, no pointer of git-lfs, and no web page.

    Raises:
        ModelError: if it is.
    """
    check_is_no_pointer(path)
    start = _start(path)
    if not start:
        raise ModelError(
            f"{path}: not a readable {path.suffix[1:]} file (it is empty): fetch it again"
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ModelError(f"{path}: it is a web page, not the file itself: fetch it again")


def _start(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(START_BYTES)


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and the position of its first value.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it has no header, or one that is not JSON.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 0 < length < path.stat().st_size:
            raise ValueError("it has no header")
        header = strict_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    return header, LENGTH_BYTES + length


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file.

    Raises:
        ModelError: if the file is not readable or not whole.
    """
    return _check_length(path)


def _check_length(path: Path) -> list[str]:
    """Check that a safetensors file holds all the values in its header; return their names."""
    try:
        header, start = read_header(path)
        header.pop("__metadata__", None)
        end = start
        for fact in header.values():
            end = max(end, start + fact["data_offsets"][1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: not a readable safetensors file ({error!s:.80}): fetch it again"
        ) from error
    missing = end - path.stat().st_size
    if missing > 0:
        raise ModelError(
            f"{path}: it is cut short, {missing} bytes are missing at its end: fetch it again"
        )
    return list(header)
