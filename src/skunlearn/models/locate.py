"""From the name of a model to its folder or hub id, and a fingerprint of its weights."""

from pathlib import Path
from typing import Any

from skunlearn.models.adapters import is_adapter, settings
from skunlearn.models.builtin import WHEELS, builtin_folder
from skunlearn.models.files import ADAPTER, weight_files
from skunlearn.models.gguf import gguf_folder
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hashing import digest, sampled_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean

WEIGHTS_AND_TOKENIZER = (".safetensors", ".bin", ".json", ".jinja", ".model")


def adapter_base(where: str) -> str | None:
    """Return the base model of an adapter folder; None for anything that is no adapter.

    Args:
        where: as `locate` returns it.

    Raises:
        ModelError: if the adapter names no base model, or it does not exist.
    """
    path = Path(where)
    if not is_adapter(path):
        return None
    name = settings(path).get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"{path / ADAPTER}: no base_model_name_or_path: write the base's folder or hub id there"
        )
    base = locate(str(name), Progress())
    if Path(base).is_dir() and Path(base).resolve() == path.resolve():
        raise ModelError(f"{path / ADAPTER}: it names its own folder as the base")
    return base


def locate(name: str, progress: Progress) -> str:
    """Return a folder for `from_pretrained`, or the hub id itself.

    Args:
        name: a built-in name, a folder, a GGUF file, or a hub id. What is on disk comes first.
        progress: reports downloads and conversions.

    Raises:
        ModelError: if the name is neither built in, nor on disk, nor has the form of a hub id.
    """
    path = Path(name).expanduser()
    if name in WHEELS and not path.exists():
        return str(builtin_folder(name, progress))
    if path.is_file() and path.suffix == ".gguf":
        return str(gguf_folder(path, progress))
    if path.is_dir():
        if not (path / "config.json").is_file() and not (path / ADAPTER).is_file():
            raise ModelError(
                f"{path}: no config.json in this folder: give a checkpoint or adapter folder"
            )
        weight_files(path)  # refuses two saves in one folder
        return str(path)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"no model '{name}': give a folder, a .gguf file, a hub id like org/name, or a "
            f"built-in name ({did_you_mean(name, WHEELS)})"
        )
    return name


def fingerprint(where: str) -> str:
    """Return a hash that changes when a model's files do, without reading them in full.

    It covers the names and sizes of weight and tokenizer files, both ends of each, and blocks in
    between. An adapter's fingerprint includes that of its base model.

    Args:
        where: as `locate` returns it. A hub id is hashed as it is.
    """
    parts: list[Any] = []
    base = adapter_base(where)
    if base:
        parts.append(fingerprint(base))
    folder = Path(where)
    if folder.is_dir():
        for path in sorted(folder.glob("*")):
            if path.suffix in WEIGHTS_AND_TOKENIZER:
                parts.append([path.name, path.stat().st_size, sampled_sha256(path)])
    return digest(parts or where)
