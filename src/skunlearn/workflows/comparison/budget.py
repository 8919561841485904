"""Equal budgets of training: the same optimiser steps for each method, or the same seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from skunlearn.data.dataset import Data
from skunlearn.data.fitting import fitting_data
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.training.train import TrainRuntime, train
from skunlearn.utils.errors import ConfigError, DataError, RunError, TrainingError
from skunlearn.utils.files import read_json, write_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean
from skunlearn.workflows.config import Run

# Seconds a step of the method's vectors ("own") and of the refusal vector ("beside").
Seconds = dict[str, float]
Clock = Callable[[], float]

KINDS = ("equal-steps", "equal-time")
MEASURED = 2  # the steps that are timed
SAMPLE_STEPS = 100  # steps on which the seconds of a mean step are estimated
ROUNDING = 1e-9  # relative; steps may take this much more than the budget


@dataclass(frozen=True)
class Budget:
    """What each run of a comparison may train.

    Attributes:
        kind: "equal-steps", or "equal-time": the seconds that `steps` take the first entry.
        steps: optimiser steps over all vectors that a run trains, 1 or more.
        batch: rows of each set in a step, 1 or more.
    """

    kind: Literal["equal-steps", "equal-time"] = "equal-steps"
    steps: int = 30
    batch: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"unknown budget '{self.kind}': {did_you_mean(self.kind, KINDS)}")
        if self.steps < 1 or self.batch < 1:
            raise ConfigError(f"--steps {self.steps} --batch {self.batch}: give 1 or more")


def budgeted(
    runs: Mapping[str, Run],
    budget: Budget,
    data: Data,
    path: Path,
    progress: Progress,
    clock: Clock = time.monotonic,
) -> tuple[dict[str, Run], dict[str, Any]]:
    """Give each run the steps that its budget allows.

    Args:
        runs: by name; with equal time, the seconds of the first are everyone's.
        budget: how much may be trained.
        data: its training split is used to time steps.
        path: where the seconds a step are stored, so that the same command gives the same steps.
        progress: reports what is timed.
        clock: returns the time in seconds.

    Returns:
        The runs by name, and what was timed: `seconds` of the budget and `entries`; empty with
        equal steps.

    Raises:
        ConfigError: when there are fewer steps than vectors.
        TrainingError: when the training of the first run fails while it is timed.
    """
    equal = {name: with_steps(run, budget.steps, budget.batch) for name, run in runs.items()}
    if budget.kind == "equal-steps":
        return equal, {}

    timing = _timing(runs, budget, data, path, progress, clock)
    first = next(iter(runs))
    if "failed" in timing[first]:
        raise TrainingError(
            f"'{first}', whose seconds are the budget, fails: {timing[first]['failed']}"
        )
    seconds = seconds_of(equal[first], timing[first]["seconds_a_step"])
    chosen = {}
    for name, run in runs.items():
        if "failed" in timing[name]:
            chosen[name] = equal[name]  # its run will fail too, and report why
        else:
            a_step = timing[name]["seconds_a_step"]
            chosen[name] = within_seconds(run, a_step, seconds, budget.batch)
    return chosen, {"seconds": seconds, "entries": timing}


def _timing(
    runs: Mapping[str, Run],
    budget: Budget,
    data: Data,
    path: Path,
    progress: Progress,
    clock: Clock,
) -> dict[str, Any]:
    """`seconds_a_step` of each run, or why it `failed`; read from the file where it is known."""
    stored = read_json(path) or {}
    timing = {}
    for name, run in runs.items():
        settings = digest([run.as_dict(), budget.batch])
        if stored.get(name, {}).get("settings") != settings:
            progress.note(f"{name}: seconds a step")
            measured = _timed(run, data, budget.batch, progress, clock)
            stored[name] = {"settings": settings, **measured}
            write_json(path, stored)
        timing[name] = {key: value for key, value in stored[name].items() if key != "settings"}
    return timing


def _timed(run: Run, data: Data, batch: int, progress: Progress, clock: Clock) -> dict[str, Any]:
    # A fresh model for each run: a step that fails leaves its model half edited.
    lm = load(run.model, run.load, progress, nf4=run.lora.nf4)
    data = fitting_data(lm.template, data)
    try:
        return {"seconds_a_step": seconds_a_step(lm, run, data, batch, clock)}
    except (RunError, DataError, OSError):
        raise
    except Exception as error:
        # A user's method can raise anything. Its run will meet the same error and report it as
        # a row of the table.
        return {"failed": " ".join(str(error).split()) or type(error).__name__}


def with_steps(run: Run, steps: int, batch: int) -> Run:
    """The run with this many steps in all, and this batch for each vector.

    The method's vectors have equally many steps. The refusal vector keeps its share of the steps,
    as far as whole numbers allow.

    Raises:
        ConfigError: when there are fewer steps than vectors.
    """
    stages = run.stages(run.make_method())
    if steps < len(stages):
        raise ConfigError(
            f"{steps} steps are too few for {len(stages)} vectors: give more with --steps"
        )
    has_refusal_vector = len(stages) > run.vectors
    if not has_refusal_vector:
        return replace(run, train=replace(run.train, steps=steps // run.vectors, batch=batch))

    total = sum(stage.options.steps for stage in stages)
    most = (steps - 1) // run.vectors  # leaves a step for the refusal vector
    own = min(most, max(1, steps * run.train.steps // total))
    rest = max(1, steps - run.vectors * own)
    refusal = replace(run.refuse.train, steps=rest, batch=batch)
    return replace(
        run,
        train=replace(run.train, steps=own, batch=batch),
        refuse=replace(run.refuse, train=refusal),
    )


def seconds_of(run: Run, a_step: Seconds) -> float:
    """Seconds that the training of a run takes.

    Args:
        run: the settings.
        a_step: seconds a step, as `seconds_a_step` returns them.
    """
    seconds = []
    for number, stage in enumerate(run.stages(run.make_method())):
        kind = "own" if number < run.vectors else "beside"
        seconds.append(stage.options.steps * a_step[kind])
    return sum(seconds)


def within_seconds(run: Run, a_step: Seconds, seconds: float, batch: int) -> Run:
    """The run with the most steps that fit into the seconds, but at least one for each vector.

    Args:
        run: the settings.
        a_step: seconds a step, as `seconds_a_step` returns them.
        seconds: the budget.
        batch: rows of each set in a step.
    """
    fewest = len(run.stages(run.make_method()))
    # A first estimate from the mean step of a sample, at or above the answer; then step by step
    # down, since how the vectors share the steps depends on their number.
    sample_steps = max(fewest, SAMPLE_STEPS)
    sample_seconds = seconds_of(with_steps(run, sample_steps, batch), a_step)
    steps = max(fewest, int(sample_steps * seconds / sample_seconds) + 1)
    limit = seconds * (1 + ROUNDING)
    while steps > fewest and seconds_of(with_steps(run, steps, batch), a_step) > limit:
        steps -= 1
    return with_steps(run, steps, batch)


def seconds_a_step(
    lm: LM, run: Run, data: Data, batch: int, clock: Clock = time.monotonic
) -> Seconds:
    """Measure the seconds a step, including the base model's predictions for it.

    It is the time of a training of three steps less that of a single step, so that what happens
    once in each training does not count.

    Args:
        lm: the base model; it is restored.
        run: the settings.
        data: its training split is used.
        batch: rows of each set in a step.
        clock: returns the time in seconds.

    Raises:
        TrainingError: when a loss is not finite.
    """
    stages = run.stages(run.make_method())
    timed = {"own": stages[0]}
    if len(stages) > run.vectors:
        timed["beside"] = stages[-1]
    runtime = TrainRuntime(run.compute)
    found: Seconds = {}
    for name, stage in timed.items():
        spent = []
        for steps in (1, 1, 1 + MEASURED):  # the first training only warms up
            start = clock()
            options = replace(stage.options, steps=steps, batch=batch)
            train(lm, stage.method, data, options, run.lora, runtime=runtime)
            spent.append(clock() - start)
        found[name] = max(spent[2] - spent[1], 1e-3) / MEASURED
    return found
