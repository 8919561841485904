"""SHA-256 of values, of files, and of the files that settings name."""

import hashlib
import json
from pathlib import Path
from typing import Any

# What of a weight file goes into its fingerprint: its two ends, and many small blocks between them.
END_BYTES = 1 << 20
BLOCK_BYTES = 1 << 12
BLOCKS = 1024


def value_sha256(value: Any) -> str:
    """SHA-256 of a value that JSON can hold; anything else in it counts as its text."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest(value: Any) -> str:
    """A short stable name for a value: the first 16 hex digits of `value_sha256`."""
    return value_sha256(value)[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_sha256(path: Path) -> str:
    """SHA-256 of a sample of a large file: 1 MiB at each end, and blocks of 4 KiB between them.

    The blocks are at even distances, closer together than an edited matrix of weights is long.
    """
    size = path.stat().st_size
    last = size - END_BYTES  # where the end of the file is read; negative for a small file
    distance = max(BLOCK_BYTES, (size - 2 * END_BYTES) // BLOCKS)
    blocks = range(END_BYTES, max(END_BYTES, last), distance)

    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        sha256.update(file.read(END_BYTES))
        for offset in blocks:
            file.seek(offset)
            sha256.update(file.read(BLOCK_BYTES))
        file.seek(max(0, last))
        sha256.update(file.read(END_BYTES))
    return sha256.hexdigest()


def named_files(settings: Any) -> dict[str, str]:
    """The files that settings name, as FILE or FILE.py:Class.

    Args:
        settings: a plain value, or mappings and lists of them.

    Returns:
        What the settings say -> SHA-256 of that file.
    """
    if isinstance(settings, dict):
        settings = list(settings.values())
    found: dict[str, str] = {}
    if isinstance(settings, list | tuple):
        for value in settings:
            found.update(named_files(value))
    elif isinstance(settings, str):
        name, is_class, _ = settings.partition(".py:")
        path = Path(f"{name}.py" if is_class else name)
        if path.is_file():
            found[settings] = file_sha256(path)
    return found
