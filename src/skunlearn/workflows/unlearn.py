"""Stage 1 of a run: train its task vectors and add them up to the edit.

Each vector is saved in the run folder when its training ends. A run that goes on after an
interruption loads the finished vectors and resumes the unfinished one from its checkpoint.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.methods.base import Method
from skunlearn.models.lm import LM
from skunlearn.models.loading import load, reload_unquantised
from skunlearn.task_vectors.filters.base import filtered, only
from skunlearn.task_vectors.vector import TaskVector, weighted_sum
from skunlearn.training.launch import release_workers
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.training.rows import Rows
from skunlearn.training.trackers import tracked
from skunlearn.training.train import Record, TrainRuntime, train
from skunlearn.utils.distributed import broadcast
from skunlearn.utils.errors import SkunlearnError
from skunlearn.utils.files import append_lines, read_lines
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run, Stage, make_run, without_new_options
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.training_rows import with_training_rows

FILTER_ROWS = 128  # the most benign training rows that most filters read
MOMENT_ROWS = 384  # the most rows of a kind for the moments of the conditional filter


def learn(
    lm: LM, method: Method, data: Data, run: Run, folder: RunFolder, progress: Progress
) -> TaskVector:
    """Return what strength 1 adds to the base model.

    It is the method's vector, after the filters, plus the refusal vector if the run has one, each
    multiplied by the scale of its stage.

    Args:
        lm: the base model; with QLoRA its weights are reloaded without quantisation.
        method: the run's method.
        data: its training split is used.
        run: all settings.
        folder: holds finished vectors, and receives new ones.
        progress: reports the training.

    Raises:
        TrainingError: when a loss is not finite.
        ModelError: when a trained weight did not change.
        ConfigError: when a filter does not fit the vectors.
    """
    training = _Training(lm, method, data, run, folder, progress)
    stages = run.stages(method)
    vectors = [training.vector(number, stage) for number, stage in enumerate(stages)]
    release_workers()
    reload_unquantised(lm, run.load, progress)

    # The stages begin with the method's own vectors, one for each seed. The filters make one of
    # them; what follows is the refusal vector, which is not filtered.
    own = vectors[: run.vectors]
    parts = [(stages[0].scale, training.filtered_vector(own))]
    for stage, vector in zip(stages[run.vectors :], vectors[run.vectors :], strict=True):
        parts.append((stage.scale, vector))
    return weighted_sum(parts)


@dataclass(frozen=True)
class _Training:
    """The training of a run's vectors, with the arguments of `learn`."""

    lm: LM
    method: Method
    data: Data
    run: Run
    folder: RunFolder
    progress: Progress

    @cached_property
    def prepared(self) -> Data:
        """The data with the rows that are trained on; made when a vector must be trained."""
        return with_training_rows(self.lm, self.data, self.run, self.folder, self.progress)

    def vector(self, number: int, stage: Stage) -> TaskVector:
        """The vector of a stage, from its file or newly trained.

        Args:
            number: of the stage among the run's stages, from 0.
            stage: what is trained.
        """
        path = self.folder / f"{stage.name}.safetensors"
        checkpoints = self.folder / "state"
        if path.exists():
            shutil.rmtree(checkpoints, ignore_errors=True)
            self.progress.note(f"{stage.name} has been trained before and is loaded")
            return TaskVector.load(path)

        self._report_rows(stage)
        # The other processes receive it in `serve_training`.
        broadcast((self.run.as_dict(), number, self.prepared.train))
        tau = self._train(stage)
        tau.save(
            path,
            model=self.lm.name,
            base=self.lm.fingerprint,
            method=type(stage.method).__name__,
            seed=stage.options.seed,
        )
        shutil.rmtree(checkpoints, ignore_errors=True)
        return tau

    def _report_rows(self, stage: Stage) -> None:
        options = stage.options
        rows = Rows(self.lm, self.prepared, stage.method, options.batch, options.seed)
        used = rows.count_used(options.steps)
        self.progress.note(
            f"{stage.name}: {options.steps} steps see {used['forget']} of "
            f"{len(self.prepared.train.forget)} forget pairs and {used['retain']} ordinary pairs"
        )

    def _train(self, stage: Stage) -> TaskVector:
        """Train a stage, and append the losses of each step to its file and to the tracker."""
        compute = self.run.compute
        with tracked(compute.tracker, self.folder.path, stage.name) as log:

            def record(values: Record) -> None:
                append_lines(self.folder / steps_file(stage.name), [values])
                log(values)

            return train(
                self.lm,
                stage.method,
                self.prepared,
                stage.options,
                self.run.lora,
                runtime=TrainRuntime(compute, self.folder / "state", record),
                progress=self.progress,
            )

    def filtered_vector(self, own: list[TaskVector]) -> TaskVector:
        """The method's vectors after the run's filters, as one vector.

        It is saved too, since some filters read the model for a while.
        """
        filters = self.run.make_filters()
        if not filters:
            return only(own)
        path = self.folder / "tau_filtered.safetensors"
        if path.exists():
            return TaskVector.load(path)
        tau = filtered(filters, own, filter_context(self.lm, self.prepared, self.progress))
        self.progress.note(f"filtered: {tau}")
        tau.save(
            path,
            model=self.lm.name,
            base=self.lm.fingerprint,
            filters=list(self.run.edit.filters),
        )
        return tau


def filter_context(lm: LM, data: Data, progress: Progress) -> RetainStatistics:
    """What filters may use: the base model and evenly spaced rows of the train split.

    Args:
        lm: the base model.
        data: with the rows that the vector was trained on (`with_training_rows`).
        progress: reports the batches.
    """
    train = data.train
    refusals = [row["answer"] for row in builtin_rows("refusals")]
    benign = [*train.retain, *train.lookalike]
    forget = _spaced(train.forget, MOMENT_ROWS)
    refused: list[Example] = []
    for number, example in enumerate(forget):
        refused.append(replace(example, answer=refusals[number % len(refusals)]))

    def encoded(rows: Iterable[Example]) -> list[Encoded]:
        return [lm.template.encode(row, data.options.max_length) for row in rows]

    return RetainStatistics(
        lm,
        encoded(_spaced(benign, FILTER_ROWS)),
        progress,
        harmful=encoded(forget),
        refused=encoded(refused),
        harmless=encoded(_spaced(benign, MOMENT_ROWS)),
    )


def _spaced(rows: Sequence[Example], most: int) -> list[Example]:
    """At most so many of the rows, evenly spaced."""
    spacing = max(1, len(rows) // most)
    return list(rows[::spacing][:most])


def vectors_name(run: Run) -> str:
    """A name for what a run adds at strength 1, for the store of completions."""
    tree = without_new_options(run.as_dict())
    parts = [tree[part] for part in ("train", "method", "vectors", "refuse", "lora")]
    return digest([*parts, tree["edit"]["filters"]])


def serve_training() -> None:
    """Train along with the first process, which broadcasts each stage, until it broadcasts None.

    Every process but the first one runs this. The model and the data are loaded once.
    """
    lm: LM | None = None
    data: Data | None = None
    while True:
        message = broadcast(None)
        if message is None:
            return
        settings, number, rows = message
        run = make_run(settings)
        if lm is None or data is None:
            lm = load(run.model, run.load, nf4=run.lora.nf4)
            data = Data(run.forget, run.retain, run.data)
        data.train = rows
        stage = run.stages(run.make_method())[number]
        # The first process meets the same error, reports it, and ends this loop.
        with suppress(SkunlearnError):
            runtime = TrainRuntime(run.compute)
            train(lm, stage.method, data, stage.options, run.lora, runtime=runtime)


def steps_file(name: str) -> str:
    """The file with the losses of a vector's steps: `steps.jsonl` for "tau", and so on."""
    return name.replace("tau", "steps", 1) + ".jsonl"


def losses(folder: RunFolder, stages: Iterable[Stage]) -> dict[str, list[Record]]:
    """The losses of each step of each vector, in order.

    A step that was repeated after an interruption has several rows in its file, of which the last
    one counts.
    """
    found = {}
    for stage in stages:
        by_step: dict[int, Record] = {}
        for row in read_lines(folder / steps_file(stage.name)):
            by_step[int(row["step"])] = row
        found[stage.name] = [by_step[step] for step in sorted(by_step)]
    return found
