"""A model's name -> the folder or hub id that it stands for, and a fingerprint of its weights."""

import json
from pathlib import Path
from typing import Any

from skunlearn.models.builtin import WHEELS, builtin_folder
from skunlearn.models.gguf import gguf_folder
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hashing import digest, sampled_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean

ADAPTER = "adapter_config.json"


def adapter_base(where: str) -> str | None:
    """The model that an adapter folder belongs to; None for a folder with a model of its own."""
    path = Path(where)
    if (path / "config.json").is_file() or not (path / ADAPTER).is_file():
        return None
    name = json.loads((path / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"{path / ADAPTER}: no base_model_name_or_path: write the base's folder or hub id there"
        )
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
            raise ModelError(
                f"{path}: no config.json in this folder: give a checkpoint or adapter folder"
            )
        return str(path)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"no model '{name}': give a folder, a .gguf file, a hub id like org/name, or a built-in name "
            f"({did_you_mean(name, WHEELS)})"
        )
    return name


def fingerprint(where: str) -> str:
    """Names, sizes, both ends and blocks in between of the weight files of a folder, and of the
    base that an adapter belongs to; the name itself for a hub id."""
    seen: list[Any] = [fingerprint(base)] if (base := adapter_base(where)) else []
    for path in sorted(Path(where).glob("*")) if Path(where).is_dir() else []:
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja", ".model"):
            seen.append([path.name, path.stat().st_size, sampled_sha256(path)])
    return digest(seen or where)
