"""The run folder: what a run knows and has done, written so that a kill at any moment leaves nothing half-true.

    run.yaml  env.json  steps.jsonl  steps_refuse.jsonl  tau.safetensors  tau_refuse.safetensors  completions.jsonl
    seconds.json  results.json  report.html  model/  state/

Files are private (0600) since completions and tau hold harmful material. A whole file is written under another name
and renamed; a line file is appended to, and a torn last line is cut off when it is read.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from skunlearn.errors import RunError

EDGE = 1 << 20  # bytes at each end of a weight file that go into its fingerprint
BLOCK, BLOCKS = 1 << 12, 1024  # and so many blocks of so many bytes between them


def write_text(path: Path, text: str) -> None:
    """Write a whole private file, or leave the old one."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
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
        raise RunError(f"{path}: not valid JSON ({error}): delete the folder or choose another --out") from error


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a private JSON-lines file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(text)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a torn last line (a kill in the middle of a write) is cut off the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.split(b"\n") if line]  # str.splitlines would also split at U+2028


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
    """SHA-256 of both ends and of blocks at even distances, closer together than an edit's matrices are long."""
    size, found = path.stat().st_size, hashlib.sha256()
    places = [0, *range(EDGE, max(EDGE, size - EDGE), max(BLOCK, (size - 2 * EDGE) // BLOCKS)), max(0, size - EDGE)]
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            found.update(file.read(BLOCK if EDGE <= place < size - EDGE else EDGE))
    return found.hexdigest()


def named_files(settings: Any) -> dict[str, str]:
    """SHA-256 of every file that settings name, alone or as FILE.py:Class, by what they are called there."""
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        return {name: found for value in settings for name, found in named_files(value).items()}
    name, is_code, _ = str(settings).partition(".py:")
    path = Path(f"{name}.py" if is_code else name)
    return {str(settings): file_sha256(path)} if isinstance(settings, str) and path.is_file() else {}


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the name `path` only when the block ends well."""
    partial = path.with_name(path.name + ".skunlearn.partial")  # nobody else's name: what a kill left is removed
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


class RunDir:
    """One run folder. It is created by `claim`, not before."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def claim(self, settings: dict[str, Any]) -> None:
        """Make the folder ours, or make sure that it is this very run's.

        Args:
            settings: everything that decides the result; kept as `settings.json`.

        Raises:
            RunError: when the folder holds something else, with the first setting that differs.
        """
        known = read_json(self / "settings.json") if self.path.is_dir() else None
        if known is None:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise RunError(f"{self.path} exists and is not a run folder: choose another --out")
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)  # also where it was there already
            write_json(self / "settings.json", settings)
        elif known != settings:
            raise RunError(
                f"{self.path} holds a run with other settings ({_first_difference(known, settings)}): "
                "choose another --out, or delete the folder"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one process; a lock left by a dead process counts for nothing.

        Raises:
            RunError: when a living process holds it.
        """
        path = self / "lock"
        with contextlib.suppress(FileNotFoundError, ValueError):
            owner = int(path.read_text())
            if owner != os.getpid() and psutil.pid_exists(owner):
                raise RunError(f"{self.path} is in use by process {owner}: wait for it or choose another --out")
        write_text(path, str(os.getpid()))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _first_difference(old: Any, new: Any, where: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if old.get(key) != new.get(key):
                return _first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    return f"{where}: {old!r} there, {new!r} now"
