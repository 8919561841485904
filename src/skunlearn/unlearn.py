"""Stage 1 of a run: train, and keep tau in the run folder; a finished one is loaded."""

import shutil

from skunlearn.config import Run
from skunlearn.data.load import Data
from skunlearn.lm.model import LM
from skunlearn.methods.base import Method
from skunlearn.progress import Progress
from skunlearn.rundir import RunDir, append_lines, read_lines
from skunlearn.task_vector import TaskVector
from skunlearn.train import Record, Rows, train

TAU = "tau.safetensors"
STEPS = "steps.jsonl"


def learn(lm: LM, method: Method, data: Data, run: Run, folder: RunDir, progress: Progress) -> TaskVector:
    """tau of this run: from the folder when it is there, else trained, from the last private state when there is one.

    Raises:
        TrainingError: when the losses are not finite.
        ModelError: when a trained weight did not move.
    """
    state = folder / "state"
    if (folder / TAU).exists():
        shutil.rmtree(state, ignore_errors=True)
        progress.note("stage 1 was done before: its task vector is used")
        return TaskVector.load(folder / TAU)
    used = Rows(lm, data, method, run.train).used(run.train.steps)
    progress.note(
        f"stage 1: {run.train.steps} steps see {used['forget']} of {len(data.train.forget)} forget pairs and "
        f"{used['retain']} of {len(data.train.retain) + len(data.train.lookalike)} retain pairs"
    )

    def record(values: Record) -> None:
        append_lines(folder / STEPS, [values])

    tau = train(lm, method, data, run.train, run.lora, state=state, progress=progress, record=record)
    tau.save(folder / TAU, model=lm.name, base=lm.fingerprint, method=run.method_name, seed=run.train.seed)
    shutil.rmtree(state, ignore_errors=True)
    return tau


def losses(folder: RunDir) -> list[Record]:
    """The losses of each step, in order; of a step that was done again after a kill the last."""
    rows = {int(row["step"]): row for row in read_lines(folder / STEPS)}
    return [rows[step] for step in sorted(rows)]
