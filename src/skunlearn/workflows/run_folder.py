"""The run folder: what a run knows and has done, written so that a kill at any moment leaves nothing half-true.

    run.yaml  env.json  steps.jsonl  steps_refuse.jsonl  tau.safetensors  tau_refuse.safetensors  completions.jsonl
    seconds.json  results.json  report.html  model/  state/

Files are private (0600) since completions and tau hold harmful material. A whole file is written under another name
and renamed; a line file is appended to, and a torn last line is cut off when it is read.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from skunlearn.utils.errors import RunError
from skunlearn.utils.files import read_json, write_json, write_text


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
