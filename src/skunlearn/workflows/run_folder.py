"""The run folder, which holds everything that a run reads and writes.

`skunlearn run` writes these files, in about this order:

    settings.json          everything that decides the results; it says whose folder this is
    lock                   locked while a process works in the folder; it holds the process's id
    run.yaml               all settings, as a run file
    env.json               versions and device
    state/                 the checkpoint of an unfinished training
    steps.jsonl            the losses of tau's training steps; steps_2.jsonl, steps_refuse.jsonl
    tau.safetensors        the task vector of the method; tau_2.safetensors with a second seed
    tau_refuse.safetensors the refusal vector, for methods that negate
    tau_filtered.safetensors  the method's vectors after the filters
    tracker/               the losses for TensorBoard
    own_answers.jsonl      the base model's own answers to forget prompts, if training reads them
    completions.jsonl      every completion with its verdict
    strength.json          the chosen strength, and what each tried strength scored
    seconds.json           seconds spent in each stage
    report.html            the report
    results.json           everything that was measured; it is written last, so a folder that has it
                           is finished
    model/                 the edited checkpoint, with --save

Later commands add to a finished run:

    attacks.jsonl, attacks.json                        skunlearn attack
    tune.journal, tune/, tune.json, tune.html, tuned.yaml  skunlearn tune
    flagged.jsonl, exports/                            skunlearn studio
    memory.json, failed.json                           skunlearn compare

Files are private (mode 0600), because completions and task vectors contain harmful material. A kill
at any moment leaves no file half-written: a whole file is written under another name and renamed,
and a torn last line of a JSON-lines file is cut off when the file is read.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skunlearn.data.dataset import Data
from skunlearn.evaluation.results import Comparison
from skunlearn.models.locate import fingerprint, locate
from skunlearn.task_vectors.vector import TaskVector, weighted_sum
from skunlearn.utils.errors import ModelError, RunError, SkunlearnError
from skunlearn.utils.files import JsonDict, read_json, write_json
from skunlearn.utils.hashing import digest, named_files, value_sha256
from skunlearn.utils.locks import locked
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run, without_new_options
from skunlearn.workflows.stored_results import read_results


class RunFolder:
    """The folder of one run. It is created by `claim`, not before.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def claim(self, settings: dict[str, Any]) -> None:
        """Create the folder for a run, or check that it belongs to exactly this run.

        Args:
            settings: everything that decides the results, kept as `settings.json`.

        Raises:
            RunError: when the folder holds something else; the message names the first setting
                that differs.
        """
        claimed = read_json(self / "settings.json") if self.path.is_dir() else None
        if claimed is None:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise RunError(f"{self.path} exists and is not a run folder: choose another --out")
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)  # also for an empty folder that existed before
            write_json(self / "settings.json", settings)
        elif claimed != settings:
            difference = _first_difference(claimed, settings)
            raise RunError(
                f"{self.path} holds a run with other settings ({difference}): "
                "choose another --out, or delete the folder"
            )

    def finished_results(self, settings: dict[str, Any]) -> JsonDict | None:
        """The results of a finished run with exactly these settings; None if there are none here.

        Args:
            settings: as for `claim`.
        """
        if read_json(self / "settings.json") != settings:
            return None
        results: JsonDict | None = read_json(self / "results.json")
        return results

    def attack_rows(self) -> list[JsonDict]:
        """The rows of `attacks.json`; empty for a model that has not been attacked."""
        attacks = read_json(self / "attacks.json") or {}
        rows: list[JsonDict] = attacks.get("attacks", [])
        return rows

    @contextlib.contextmanager
    def lock(self, links: bool = False) -> Iterator[None]:
        """A block inside which no other process works in the folder.

        The system drops the lock of a process that ends, however it ends.

        Args:
            links: whether links in the folder are allowed; what works in it would write through
                them.

        Raises:
            RunError: when a living process holds the lock, or for a link.
        """
        for path in () if links else sorted(self.path.iterdir()):
            if path.is_symlink() and path.name not in MAY_BE_LINKS:
                raise RunError(
                    f"{path} is a link, which is not written through: delete it, or put the file "
                    "itself there"
                )
        with locked(self / "lock", f"{self.path} is in use by process"):
            yield


def settings_of(run: Run, data: Data, progress: Progress) -> JsonDict:
    """Everything that decides a run's results, for `RunFolder.claim`.

    The section `compute` is left out: an interrupted run may go on with more or less memory.
    """
    tree = without_new_options(run.as_dict())
    del tree["compute"]
    sections = dict(tree)
    for name in ("model", "forget", "retain"):  # their contents have fingerprints of their own
        del sections[name]
    settings = {
        "run": tree,
        "model": fingerprint(locate(run.model, progress)),
        "data": digest(data.fingerprint),
        "version": version("skunlearn"),
    }
    files = named_files(sections)
    if files:
        settings["files"] = files
    return settings


def _first_difference(old: Any, new: Any, where: str = "") -> str:
    """The first setting, in the order of the names, that differs between two trees."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if old.get(key) != new.get(key):
                path = f"{where}.{key}" if where else key
                return _first_difference(old.get(key), new.get(key), path)
    return f"{where}: {old!r} there, {new!r} now"


# Links that may stand in a run folder: the large files that nothing writes once they are there.
MAY_BE_LINKS = ("model", "exports")


@dataclass(frozen=True)
class RunResults:
    """The contents of `results.json`, of a run or of an evaluation of two models.

    Attributes:
        comparison: base and edited model compared: verdict, gates, scores, changes, judges and
            transcripts.
        alpha: the strength of the edit; None for an evaluation, which does not choose it.
        model: the base model of a run, or the names of both models of an evaluation.
        command: the command that measures the same again.
        run_yaml: all settings as a run file.
        funnel: (set, what was done, rows left) for each step of reading the data.
        environment: versions and device.
        curve: what each tried strength scored on the validation split.
        losses: the losses of each training step, by the name of the vector.
        seconds: seconds spent in each stage.
    """

    comparison: Comparison
    alpha: float | None
    model: str
    command: str
    run_yaml: str
    funnel: list[tuple[str, str, int]]
    environment: JsonDict
    curve: list[JsonDict]
    losses: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]

    def as_json(self) -> JsonDict:
        """The comparison and the other values as one JSON object."""
        values = dict(vars(self))
        del values["comparison"]
        return self.comparison.as_json() | values


def is_run_folder(where: str | Path) -> bool:
    """Whether this is a run folder, finished or not, rather than a model."""
    return (Path(where) / "run.yaml").is_file()


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        run: its settings.
        results: the contents of `results.json`.
        settings: the contents of `settings.json`, with fingerprints of the base model and the data.
        parts: (file of a task vector, factor with which strength 1 adds it) for each vector.
    """

    folder: Path
    run: Run
    results: JsonDict
    settings: JsonDict
    parts: list[tuple[Path, float]]

    def edit_at_strength_1(self) -> TaskVector:
        """What strength 1 adds to the base model."""
        return weighted_sum((scale, TaskVector.load(path)) for path, scale in self.parts)

    def edit(self) -> TaskVector:
        """What the run adds to the base model, at the strength that it chose."""
        return float(self.results["alpha"]) * self.edit_at_strength_1()


def open_run(folder: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        RunError: when the run is not finished, or its task vectors are gone.
    """
    results = read_results(folder)
    settings = read_json(folder / "settings.json")
    if results is None or settings is None:
        raise RunError(
            f"{folder}: no finished run here: give the folder that 'skunlearn run' printed, "
            "or run it again"
        )
    run = make_run(read_run(folder / "run.yaml"))
    parts = []
    for name, scale in _named_scales(run):
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            why = "removed by 'skunlearn clean'" if "cleaned" in settings else "not there"
            raise RunError(f"{path}: {why}: run again with another --out")
        parts.append((path, scale))
    return FinishedRun(folder, run, results, settings, parts)


def _named_scales(run: Run) -> list[tuple[str, float]]:
    """(name, scale) of each vector that `unlearn.learn` adds up.

    With filters, one filtered vector stands in place of the method's own vectors.
    """
    stages = run.stages(run.make_method())
    if not run.make_filters():
        return [(stage.name, stage.scale) for stage in stages]
    refusal = [(stage.name, stage.scale) for stage in stages[run.vectors :]]
    return [("tau_filtered", stages[0].scale), *refusal]


def check_base(source: FinishedRun, progress: Progress) -> None:
    """Check that the base model on disk is still the one that the run was trained on.

    Raises:
        ModelError: when it has changed.
    """
    if fingerprint(locate(source.run.model, progress)) != source.settings["model"]:
        raise ModelError(
            f"the base '{source.run.model}' has changed since the run: its task vector does not "
            "fit it"
        )


def data_sha256(run: Run) -> str:
    """SHA-256 of every prompt and answer in the three splits of a run's data, in order.

    Its first 16 digits are the name that `settings.json` has for the data. Where the data cannot be
    read any more, the text begins with "unknown" and says why.
    """
    try:
        return value_sha256(Data(run.forget, run.retain, run.data).fingerprint)
    except SkunlearnError as error:
        return f"unknown: {error!s:.160}"
