"""Private files that are written whole or not at all, and JSON lines that survive a kill."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import RunError

JsonDict = dict[str, Any]  # an object of JSON or YAML


def write_text(path: Path, text: str) -> None:
    """Write a whole private file, or leave the old one."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, None when it is not there.

    Raises:
        RunError: when it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(
            f"{path}: not valid JSON ({error}): delete the folder or choose another --out"
        ) from error


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a private JSON-lines file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with open(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
    ) as file:
        file.write(text)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a torn last line (a kill in the middle of a write) is cut off
    the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return [
        json.loads(line) for line in whole.split(b"\n") if line
    ]  # str.splitlines would also split at U+2028


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the name `path` only when the block ends well."""
    partial = path.with_name(
        path.name + ".skunlearn.partial"
    )  # nobody else's name: what a kill left is removed
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_private(folder: Path) -> None:
    """Nobody else reads the folder and its files."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def cache_folder() -> Path:
    """`SKUNLEARN_CACHE`, or `skunlearn` in the user's cache folder."""
    if given := os.environ.get("SKUNLEARN_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skunlearn"
