"""SHA-256 of values, files and named settings."""

import hashlib
import json
from pathlib import Path
from typing import Any

EDGE = 1 << 20  # bytes at each end of a weight file that go into its fingerprint


BLOCK, BLOCKS = 1 << 12, 1024  # and so many blocks of so many bytes between them


def value_sha256(value: Any) -> str:
    """SHA-256 of any JSON-able value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest(value: Any) -> str:
    """A short stable name for any JSON-able value: the first 16 hex digits of its SHA-256."""
    return value_sha256(value)[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_sha256(path: Path) -> str:
    """SHA-256 of both ends and of blocks at even distances, closer together than an edit's matrices
    are long."""
    size, found = path.stat().st_size, hashlib.sha256()
    places = [
        0,
        *range(EDGE, max(EDGE, size - EDGE), max(BLOCK, (size - 2 * EDGE) // BLOCKS)),
        max(0, size - EDGE),
    ]
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            found.update(file.read(BLOCK if EDGE <= place < size - EDGE else EDGE))
    return found.hexdigest()


def named_files(settings: Any) -> dict[str, str]:
    """SHA-256 of every file that settings name, alone or as FILE.py:Class, by what they are called
    there."""
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        return {name: found for value in settings for name, found in named_files(value).items()}
    name, is_code, _ = str(settings).partition(".py:")
    path = Path(f"{name}.py" if is_code else name)
    return (
        {str(settings): file_sha256(path)} if isinstance(settings, str) and path.is_file() else {}
    )
