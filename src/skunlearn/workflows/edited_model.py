"""A base model with its edit and its data, opened from a run folder or from two checkpoints.

`skunlearn attack` and `skunlearn tune` work on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from skunlearn.data.dataset import Data
from skunlearn.data.fitting import fitting_data
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.models.pairs import comparable, tie_alike
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError, ModelError, RunError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import FinishedRun, RunFolder, is_run_folder, open_run
from skunlearn.workflows.unlearn import vectors_name


@dataclass(frozen=True)
class EditSource:
    """Where an edit comes from: a finished run, or an edited checkpoint with its base model.

    Attributes:
        where: the run folder; or the edited checkpoint: a folder, a GGUF file or a hub id.
        base: the model that a checkpoint was made from. A run folder names its own.
        forget: the forget set for a checkpoint; the built-in one when not given. A run folder names
            its own.
    """

    where: Path | str
    base: str | None = None
    forget: str | None = None


@dataclass(frozen=True)
class EditedModel:
    """A base model with an edit.

    Attributes:
        lm: the base model's weights with the edited model's tokenizer and chat template.
        edit: the task vector theta_u - theta_o.
        weights: a name for the edited weights, for the store of completions; a run's own name for
            them where it is one.
        data: the forget and retain sets in their three splits.
        run: settings: the model, the data and the judge.
        folder: where completions are stored and results are written.
        settings: everything that decides the results, for `RunFolder.claim`.
    """

    lm: LM
    edit: TaskVector
    weights: str
    data: Data
    run: Run
    folder: RunFolder
    settings: JsonDict


def open_edited_model(
    source: EditSource,
    sets: Sequence[str] = (),
    out: Path | None = None,
    progress: Progress | None = None,
) -> EditedModel:
    """Open a run of ours, or anybody's edited checkpoint with its base model.

    Args:
        source: the run folder, or the checkpoint.
        sets: options of `Run` for a checkpoint (load, data, evaluate), as `section.key=value`.
        out: where results are written; the run folder itself, or a new one under `runs`, when not
            given.
        progress: reports the work.

    Raises:
        SkunlearnError: when something is missing, or does not fit.
    """
    where, base = source.where, source.base
    progress = progress or Progress()
    if is_run_folder(where):
        flags = [("--base", base), ("--forget", source.forget)]
        flags += [("--set", text) for text in sets]
        for flag, value in flags:
            if value:
                raise ConfigError(
                    f"{where} is a run, which names its base, data and judge: "
                    f"leave out {flag} {value}"
                )
        return _from_run(open_run(Path(where)), out, progress)
    if base is None:
        locate(str(where), progress)  # a wrong name is the more helpful error
        raise ConfigError(
            f"{where} is not a run folder: give the model it was made from with --base"
        )
    tree = {"model": base}
    if source.forget:
        tree["forget"] = source.forget
    return _from_checkpoints(str(where), make_run(with_sets(tree, sets)), out, progress)


def _from_run(source: FinishedRun, out: Path | None, progress: Progress) -> EditedModel:
    run = source.run
    data = Data(run.forget, run.retain, run.data)

    # What is on disk must be what the run was trained on.
    current = {"model": fingerprint(locate(run.model, progress)), "data": digest(data.fingerprint)}
    for name, value in current.items():
        if source.settings.get(name) != value:
            raise RunError(
                f"{source.folder}: the {name} of this run is not what it was: "
                "run it again in another folder"
            )

    alpha = source.results["alpha"]
    lm = load(run.model, run.load, progress)
    return EditedModel(
        lm=lm,
        edit=source.edit(),
        weights=f"{vectors_name(run)}*{alpha:g}",
        data=fitting_data(lm.template, data),
        run=run,
        folder=RunFolder(out or source.folder),
        settings={"attacked": source.settings, "alpha": alpha} if out else source.settings,
    )


def _from_checkpoints(where: str, run: Run, out: Path | None, progress: Progress) -> EditedModel:
    data = Data(run.forget, run.retain, run.data)
    edited = load(where, run.load, progress, tokenizer_from=run.model)
    base = load(run.model, run.load, progress)
    base, edited = comparable(base, edited, progress)
    tie_alike(base, edited, progress)
    try:
        edit = TaskVector.between(
            dict(base.model.named_parameters()), dict(edited.model.named_parameters()), safety=1.0
        )
    except ModelError as error:
        raise ModelError(f"{where} was not made from {run.model}: {error}") from error

    settings = {
        "edited": edited.fingerprint,
        "model": base.fingerprint,
        "data": digest(data.fingerprint),
        "run": run.as_dict(),
        "version": version("skunlearn"),
    }
    name = f"{Path(where).name}-attack-{digest(settings)[:8]}"
    return EditedModel(
        lm=LM(base.model, edited.tokenizer, base.name, base.fingerprint),
        edit=edit,
        weights=edited.fingerprint,
        data=fitting_data(edited.template, data),
        run=run,
        folder=RunFolder(out or Path("runs") / name),
        settings=settings,
    )
