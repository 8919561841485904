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

# Only the user may read what is written here: rw------- and, for folders, rwx------.
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def write_text(path: Path, text: str) -> None:
    """Writes a private text file. If that fails, the old file is left as it was."""
    # The text goes to another name first, and a rename on one disk replaces a file at once.
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a private JSON file; raises ValueError for NaN, which is not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file; None when there is no such file.

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
    """Appends rows to a private JSON-lines file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    with open(descriptor, "a", encoding="utf-8") as file:
        file.write(text)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; none when there is no such file.

    A last line without a line break was torn by a kill in the middle of a write. It is cut off the
    file, so that the next row begins a line of its own.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    # Not str.splitlines, which would also split at U+2028 inside a text.
    return [json.loads(line) for line in whole.split(b"\n") if line]


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the name `path` only when the block ends without an error.

    Yields:
        The folder to fill, under a name that nothing else uses.
    """
    partial = path.with_name(path.name + ".skunlearn.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a kill
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_private(folder: Path) -> None:
    """Takes all permissions on a folder and what is in it from everybody but the user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def cache_folder() -> Path:
    """`SKUNLEARN_CACHE`, or `skunlearn` in the user's cache folder."""
    given = os.environ.get("SKUNLEARN_CACHE")
    if given:
        return Path(given).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "skunlearn"
