"""The run folder: what a run knows and has done, written so that a kill at any moment leaves
nothing half-true.

    run.yaml  env.json  steps.jsonl  steps_refuse.jsonl  tau.safetensors  tau_refuse.safetensors
    completions.jsonl seconds.json  results.json  report.html  model/  state/

Files are private (0600) since completions and tau hold harmful material. A whole file is written
under another name and renamed; a line file is appended to, and a torn last line is cut off when it
is read.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from skunlearn.data.dataset import Data
from skunlearn.models.locate import fingerprint, locate
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ModelError, RunError, SkunlearnError
from skunlearn.utils.files import JsonDict, read_json, write_json, write_text
from skunlearn.utils.hashing import value_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run


class RunFolder:
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
                raise RunError(
                    f"{self.path} is in use by process {owner}: wait for it or choose another --out"
                )
        write_text(path, str(os.getpid()))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _first_difference(old: Any, new: Any, where: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if old.get(key) != new.get(key):
                return _first_difference(
                    old.get(key), new.get(key), f"{where}.{key}" if where else key
                )
    return f"{where}: {old!r} there, {new!r} now"


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        run: its settings.
        results: what it measured.
        settings: contents of settings.json: fingerprints of model and data.
        parts: (file of a task vector, what strength 1 adds of it).
    """

    folder: Path
    run: Run
    results: JsonDict
    settings: JsonDict
    parts: list[tuple[Path, float]]

    def edit(self) -> TaskVector:
        """What the run adds to its base, at the strength that it chose."""
        (path, scale), *others = self.parts
        edit = scale * TaskVector.load(path)
        for path, scale in others:
            edit = edit + scale * TaskVector.load(path)
        return float(self.results["alpha"]) * edit


def open_run(folder: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        RunError: when the run is not finished, or its task vectors are gone.
    """
    results, settings = read_json(folder / "results.json"), read_json(folder / "settings.json")
    if results is None or settings is None:
        raise RunError(
            f"{folder}: no finished run here: give the folder that 'skunlearn run' printed, or run it again"
        )
    run = make_run(read_run(folder / "run.yaml"))
    parts = [(folder / f"{name}.safetensors", scale) for name, scale in _parts(run)]
    if lost := [path for path, _ in parts if not path.is_file()]:
        raise RunError(
            f"{lost[0]}: not there (was the folder cleaned?): run again with another --out"
        )
    return FinishedRun(folder, run, results, settings, parts)


def _parts(run: Run) -> list[tuple[str, float]]:
    """The vectors that `unlearn.learn` adds up: filters leave one in place of the method's own."""
    method = run.make_method()
    stages = run.stages(method)
    if run.make_filters():
        others = [(stage.name, stage.scale) for stage in stages if stage.method is not method]
        return [("tau_filtered", stages[0].scale), *others]
    return [(stage.name, stage.scale) for stage in stages]


def check_base(source: FinishedRun, progress: Progress) -> None:
    """The base on disk must still be the one that the run learnt on.

    Raises:
        ModelError: when it has changed.
    """
    if fingerprint(locate(source.run.model, progress)) != source.settings["model"]:
        raise ModelError(
            f"the base '{source.run.model}' has changed since the run: its task vector does not fit it"
        )


def data_sha256(run: Run) -> str:
    """SHA-256 of every prompt and answer of a run's three parts, in order; why there is none, where
    its data is gone.

    The first 16 digits are the run's own name for its data.
    """
    try:
        return value_sha256(Data(run.forget, run.retain, run.data).fingerprint)
    except SkunlearnError as error:
        return f"unknown: {error!s:.160}"
