"""A base with an edit and its data, opened from a run folder or from two checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from skunlearn.data.dataset import Data
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError, ModelError, RunError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import RunFolder, open_run
from skunlearn.workflows.unlearn import vectors_name


@dataclass(frozen=True)
class EditedModel:
    """A base with an edit.

    Attributes:
        lm: the base's weights with the edited model's tokenizer.
        edit: theta_u - theta_o.
        weights: a name for the edited weights, the run's own where it is one.
        data: forget and retain set in three parts.
        run: settings: where the models, the data and the judge come from.
        folder: where completions are kept and results go.
        settings: what decides all of this, for `RunDir.claim`.
    """

    lm: LM
    edit: TaskVector
    weights: str
    data: Data
    run: Run
    folder: RunFolder
    settings: JsonDict


def open_edited_model(
    where: Path | str,
    base: str | None,
    forget: str | None,
    sets: Sequence[str],
    out: Path | None,
    progress: Progress,
) -> EditedModel:
    """A run of ours, or an edited checkpoint of anybody's with its base.

    Args:
        where: the run folder or the edited checkpoint.
        base: the model that a checkpoint was made from; a run knows its own.
        forget: its forget set; the built-in one when not given.
        sets: options of `Run` for two checkpoints (load, data, evaluate).
        out: where results go; the run folder itself, or a new one under `runs`.
        progress: is told of the work.

    Raises:
        SkunlearnError: when something is missing, or does not fit.
    """
    if (Path(where) / "run.yaml").is_file():
        flags = [("--base", base), ("--forget", forget), *(("--set", text) for text in sets)]
        if given := [f"{flag} {value}" for flag, value in flags if value]:
            raise ConfigError(
                f"{where} is a run, which knows its base, data and judge: leave out {given[0]}"
            )
        return _of_run(Path(where), out, progress)
    if base is None:
        locate(str(where), progress)  # a wrong name is told first
        raise ConfigError(
            f"{where} is not a run folder: give the model it was made from with --base"
        )
    tree = {"model": base} | ({"forget": forget} if forget else {})
    return _of_checkpoints(str(where), make_run(with_sets(tree, sets)), out, progress)


def _of_run(path: Path, out: Path | None, progress: Progress) -> EditedModel:
    source = open_run(path)
    known, run = source.settings, source.run
    data = Data(run.forget, run.retain, run.data)
    now = {"model": fingerprint(locate(run.model, progress)), "data": digest(data.fingerprint)}
    for name, value in now.items():
        if known.get(name) != value:
            raise RunError(
                f"{path}: the {name} of this run is not what it was: run it again in another folder"
            )
    lm = load(run.model, run.load, progress)
    alpha = source.results["alpha"]
    settings = {"attacked": known, "alpha": alpha} if out else known
    return EditedModel(
        lm,
        source.edit(),
        f"{vectors_name(run)}*{alpha:g}",
        data,
        run,
        RunFolder(out or path),
        settings,
    )


def _of_checkpoints(where: str, run: Run, out: Path | None, progress: Progress) -> EditedModel:
    data = Data(run.forget, run.retain, run.data)
    edited, lm = load(where, run.load, progress), load(run.model, run.load, progress)
    try:
        edit = TaskVector.between(
            dict(lm.model.named_parameters()), dict(edited.model.named_parameters()), safety=1.0
        )
    except ModelError as error:
        raise ModelError(f"{where} was not made from {run.model}: {error}") from error
    if lm.tokenizer.chat_template != edited.tokenizer.chat_template:
        progress.note("the chat templates differ: the edited model's is used for both")
    settings = {
        "edited": edited.fingerprint,
        "model": lm.fingerprint,
        "data": digest(data.fingerprint),
        "run": run.as_dict(),
        "version": version("skunlearn"),
    }
    folder = RunFolder(out or Path("runs") / f"{Path(where).name}-attack-{digest(settings)[:8]}")
    lm = LM(lm.model, edited.tokenizer, lm.name, lm.fingerprint)
    return EditedModel(lm, edit, edited.fingerprint, data, run, folder, settings)
