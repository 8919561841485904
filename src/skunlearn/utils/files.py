"""Private files that are written whole or not at all, and JSON lines that survive a kill."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import RunError
from skunlearn.utils.strict_json import JsonDict as JsonDict
from skunlearn.utils.strict_json import parse_json, strict_json

# Only the user may read what is written here: rw------- and, for folders, rwx------.
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
# A link in place of the file is not followed. Windows has no such flag.
NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new private file that takes the name `path` only when the block ends without an error.

    Yields:
        The empty file to fill, under a name that nothing else uses. It is on the disk before it
        gets its name, and a rename on one disk replaces a file at once.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)  # left by a kill; of a link, the link
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, PRIVATE_FILE))
        yield partial
        partial.chmod(PRIVATE_FILE)  # a library may have written it anew
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        if not partial.is_dir():
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a private text file. If that fails, the old file is left as it was."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a private JSON file; raises ValueError for NaN, which is not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, expected: type[Any] | None = dict) -> Any:
    """The value of a JSON file; None when there is no such file.

    Args:
        path: the file.
        expected: `dict` or `list`; None for any value.

    Raises:
        RunError: when it cannot be read or is of another type.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    advice = ": delete the folder or choose another --out"
    return parse_json(data, str(path), expected=expected, advice=advice)


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Appends rows to a private JSON-lines file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    descriptor = _open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with open(descriptor, "a", encoding="utf-8") as file:
        file.write(text)


def _open_own(path: Path, flags: int) -> int:
    """A file descriptor for writing; a link is refused.

    Raises:
        RunError: when the file is a link.
    """
    if path.is_symlink():
        raise RunError(f"{path} is a link, which is not written through: delete it")
    return os.open(path, flags | NO_LINK, PRIVATE_FILE)


def read_lines(path: Path, keys: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; none when there is no such file.

    A last line without a line break was torn by a kill in the middle of a write. It is cut off the
    file, so that the next row begins a line of its own. Nothing is cut off a file that is not ours:
    every whole line must be an object with the given keys.

    Args:
        path: the file.
        keys: what every row must have.

    Raises:
        RunError: for a line that cannot be read, with its number.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    advice = ": mend the line, or delete the file"
    rows = []
    # Not str.splitlines, which would also split at U+2028 inside a text.
    for number, line in enumerate(whole.split(b"\n"), start=1):
        if not line:
            continue
        row = parse_json(line, f"{path}:{number}", expected=dict, advice=advice)
        for key in keys:
            row[key]  # a missing one is an error that names the line
        rows.append(row)
    torn = data[len(whole) :]
    if torn:
        _cut(path, torn, [*keys])
    return rows


def _cut(path: Path, torn: bytes, keys: list[str]) -> None:
    """Cuts off the last line of a file, which a kill has torn.

    Args:
        path: the file, whose other lines are ours.
        torn: the line.
        keys: what every row must have; a torn one begins with the first.

    Raises:
        RunError: when the line is not a torn one of ours, or the file is a link.
    """
    start = b'{"' + keys[0].encode() + b'"' if keys else b"{"
    length = min(len(start), len(torn))
    is_ours = torn[:length] == start[:length] and not (keys and _is_json(torn))
    if not is_ours:
        raise RunError(f"{path}: does not end with a line of ours: choose another file")
    descriptor = _open_own(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, path.stat().st_size - len(torn))
    finally:
        os.close(descriptor)


def _is_json(text: bytes) -> bool:
    try:
        strict_json(text)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the name `path` only when the block ends without an error.

    Yields:
        The folder to fill, under a name that nothing else uses.
    """
    partial = path.with_name(path.name + ".skunlearn.partial")
    remove(partial)  # left by a kill
    partial.mkdir(parents=True)
    try:
        yield partial
        remove(path)
        partial.rename(path)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with what is in it; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def make_private(folder: Path) -> None:
    """Takes all permissions on a folder and what is in it from everybody but the user."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():  # chmod would change what it leads to
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def cache_folder() -> Path:
    """`SKUNLEARN_CACHE`, or `skunlearn` in the user's cache folder."""
    given = os.environ.get("SKUNLEARN_CACHE")
    if given:
        return Path(given).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "skunlearn"
