"""Stage 1 of a run: train, and keep the vectors in the run folder; finished ones are loaded."""

import shutil
from collections.abc import Iterable
from contextlib import suppress

from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.models.lm import LM
from skunlearn.models.loading import load, reload_unquantised
from skunlearn.task_vectors.filters.base import filtered, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.launch import release_workers
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.training.rows import Rows
from skunlearn.training.trackers import tracked
from skunlearn.training.train import Record, train
from skunlearn.utils.distributed import broadcast
from skunlearn.utils.errors import SkunlearnError
from skunlearn.utils.files import append_lines, read_lines
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run, Stage, make_run
from skunlearn.workflows.run_folder import RunFolder

FILTER_ROWS = 128  # ordinary training rows that filters look at


def learn(
    lm: LM, method: Method, data: Data, run: Run, folder: RunFolder, progress: Progress
) -> TaskVector:
    """What strength 1 adds to the model: the method's filtered vector and those beside it, each by
    its stage's scale.

    Raises:
        TrainingError: when the losses are not finite.
        ModelError: when a trained weight did not move.
        ConfigError: when a filter does not fit the vectors.
    """
    stages = run.stages(method)
    vectors = [
        _vector(number, stage, lm, data, run, folder, progress)
        for number, stage in enumerate(stages)
    ]
    release_workers()
    reload_unquantised(lm, run.load, progress)
    own = [vector for stage, vector in zip(stages, vectors, strict=True) if stage.method is method]
    edit = stages[0].scale * _selective(own, lm, data, run, folder, progress)
    for stage, vector in zip(stages[len(own) :], vectors[len(own) :], strict=True):
        edit = edit + stage.scale * vector
    return edit


def _selective(
    taus: list[TaskVector], lm: LM, data: Data, run: Run, folder: RunFolder, progress: Progress
) -> TaskVector:
    """The method's vectors through the filters; kept, since some filters look at the model for a
    while."""
    filters, path = run.make_filters(), folder / "tau_filtered.safetensors"
    if not filters:
        return only(taus)
    if path.exists():
        return TaskVector.load(path)
    tau = filtered(filters, taus, filter_context(lm, data, progress))
    progress.note(f"filtered: {tau}")
    tau.save(path, model=lm.name, base=lm.fingerprint, filters=list(run.edit.filters))
    return tau


def filter_context(lm: LM, data: Data, progress: Progress) -> RetainStatistics:
    """What filters are given: the base and training rows of what it must keep."""
    rows = [*data.train.retain, *data.train.lookalike]
    chosen = rows[:: max(1, len(rows) // FILTER_ROWS)][:FILTER_ROWS]
    return RetainStatistics(
        lm, [lm.template.encode(row, data.options.max_length) for row in chosen], progress
    )


def vectors_name(run: Run) -> str:
    """A name for what a run adds at strength 1, for the store of completions."""
    tree = run.as_dict()
    parts = [tree[part] for part in ("train", "method", "vectors", "refuse", "lora")]
    return digest([*parts, tree["edit"]["filters"]])


def serve_training() -> None:
    """What all processes but the first do: train what it trains, until it dismisses them."""
    lm = data = None
    while (asked := broadcast(None)) is not None:
        tree, number = asked
        run = make_run(tree)
        if lm is None or data is None:
            lm, data = (
                load(run.model, run.load, nf4=run.lora.nf4),
                Data(run.forget, run.retain, run.data),
            )
        stage = run.stages(run.make_method())[number]
        with suppress(SkunlearnError):  # the first process meets the same, tells, and dismisses
            train(lm, stage.method, data, stage.options, run.lora, compute=run.compute)


def _vector(
    number: int, stage: Stage, lm: LM, data: Data, run: Run, folder: RunFolder, progress: Progress
) -> TaskVector:
    """A vector of this run: from the folder when it is there, else trained, from the last private
    state if any."""
    name, method, options = stage.name, stage.method, stage.options
    path, state = folder / f"{name}.safetensors", folder / "state"
    if path.exists():
        shutil.rmtree(state, ignore_errors=True)
        progress.note(f"{name} was trained before: it is used")
        return TaskVector.load(path)
    used = Rows(lm, data, method, options.batch, options.seed).count_used(options.steps)
    progress.note(
        f"{name}: {options.steps} steps see {used['forget']} of {len(data.train.forget)} forget pairs and "
        f"{used['retain']} ordinary pairs"
    )

    broadcast((run.as_dict(), number))
    with tracked(run.compute.tracker, folder.path, name) as log:

        def record(values: Record) -> None:
            append_lines(folder / steps_file(name), [values])
            log(values)

        tau = train(
            lm,
            method,
            data,
            options,
            run.lora,
            compute=run.compute,
            state=state,
            progress=progress,
            record=record,
        )
    tau.save(
        path, model=lm.name, base=lm.fingerprint, method=type(method).__name__, seed=options.seed
    )
    shutil.rmtree(state, ignore_errors=True)
    return tau


def steps_file(name: str) -> str:
    """Where the losses of a vector's steps are kept: `steps.jsonl`, `steps_refuse.jsonl`."""
    return name.replace("tau", "steps", 1) + ".jsonl"


def losses(folder: RunFolder, stages: Iterable[Stage]) -> dict[str, list[Record]]:
    """The losses of each step of each vector, in order; of a step that was done again after a kill
    the last."""
    found = {}
    for stage in stages:
        rows = {int(row["step"]): row for row in read_lines(folder / steps_file(stage.name))}
        found[stage.name] = [rows[step] for step in sorted(rows)]
    return found
