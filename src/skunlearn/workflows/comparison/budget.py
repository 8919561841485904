"""Equal budgets: as many optimiser steps for each method, or as many as fit the same seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from skunlearn.data.dataset import Data
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.training.train import train
from skunlearn.utils.errors import ConfigError, DataError, RunError, TrainingError
from skunlearn.utils.files import read_json, write_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean
from skunlearn.workflows.config import Run

Seconds = dict[str, float]
Clock = Callable[[], float]
KINDS = ("equal-steps", "equal-time")
MEASURED = 2  # steps that are timed


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
    """The runs with the steps that their budget gives them, and what was timed.

    Args:
        runs: by name; the seconds of the first are everyone's.
        budget: how much.
        data: whose training part is used.
        path: where seconds a step are kept, so that the same command gives the same steps.
        progress: is told of the work.
        clock: seconds.
    """
    equal = {name: with_steps(run, budget.steps, budget.batch) for name, run in runs.items()}
    if budget.kind == "equal-steps":
        return equal, {}
    known = read_json(path) or {}
    timing: dict[str, Any] = {}
    for name, run in runs.items():
        about = digest([run.as_dict(), budget.batch])
        if known.get(name, {}).get("settings") != about:
            progress.note(f"{name}: seconds a step")
            known[name] = {"settings": about, **_timed(run, data, budget.batch, progress, clock)}
            write_json(path, known)
        timing[name] = {key: value for key, value in known[name].items() if key != "settings"}
    first = next(iter(runs))
    if "failed" in timing[first]:
        raise TrainingError(
            f"'{first}', whose seconds are the budget, fails: {timing[first]['failed']}"
        )
    seconds = seconds_of(equal[first], timing[first]["seconds_a_step"])
    chosen = {
        name: equal[name]  # its run will fail and say so
        if "failed" in timing[name]
        else within_seconds(run, timing[name]["seconds_a_step"], seconds, budget.batch)
        for name, run in runs.items()
    }
    return chosen, {"seconds": seconds, "entries": timing}


def _timed(run: Run, data: Data, batch: int, progress: Progress, clock: Clock) -> dict[str, Any]:
    lm = load(
        run.model, run.load, progress, nf4=run.lora.nf4
    )  # anew: a step that fails leaves it half edited
    try:
        return {"seconds_a_step": seconds_a_step(lm, run, data, batch, clock)}
    except (RunError, DataError, OSError):
        raise
    except (
        Exception
    ) as error:  # a method of anybody's: its run will meet the same, and be a row that says so
        return {"failed": " ".join(str(error).split()) or type(error).__name__}


def with_steps(run: Run, steps: int, batch: int) -> Run:
    """The run with so many steps in all, shared among its vectors as they were, and this batch for
    each.

    Raises:
        ConfigError: when there are fewer steps than vectors.
    """
    stages = run.stages(run.make_method())
    if steps < len(stages):
        raise ConfigError(
            f"{steps} steps are too few for {len(stages)} vectors: give more with --steps"
        )
    beside = len(stages) - run.vectors
    total = sum(stage.options.steps for stage in stages)
    most = (steps - beside) // run.vectors
    own = min(most, max(1, steps * run.train.steps // total)) if beside else most
    left = max(1, steps - run.vectors * own)
    return replace(
        run,
        train=replace(run.train, steps=own, batch=batch),
        refuse=replace(run.refuse, train=replace(run.refuse.train, steps=left, batch=batch))
        if beside
        else run.refuse,
    )


def seconds_of(run: Run, a_step: Seconds) -> float:
    """Seconds that the training of a run takes.

    Args:
        run: the settings.
        a_step: seconds a step of the method ("own") and of the vector beside it ("beside").
    """
    stages = run.stages(run.make_method())
    return sum(
        s.options.steps * a_step["own" if n < run.vectors else "beside"]
        for n, s in enumerate(stages)
    )


def within_seconds(run: Run, a_step: Seconds, seconds: float, batch: int) -> Run:
    """The run with the most steps that fit; one for each vector at least."""
    fewest = len(run.stages(run.make_method()))
    known = with_steps(run, max(fewest, 100), batch)  # a sample of the shares
    steps = max(fewest, int(max(fewest, 100) * seconds / seconds_of(known, a_step)) + 1)
    while steps > fewest and seconds_of(with_steps(run, steps, batch), a_step) > seconds * (
        1 + 1e-9
    ):
        steps -= 1
    return with_steps(run, steps, batch)


def seconds_a_step(
    lm: LM, run: Run, data: Data, batch: int, clock: Clock = time.monotonic
) -> Seconds:
    """Seconds a step, the base's predictions for it included: a training of three steps less one of
    a single step, after one that only warms up.

    Args:
        lm: the base, which comes back as it was.
        run: the settings.
        data: whose training part is used.
        batch: rows of each set in a step.
        clock: seconds.

    Raises:
        TrainingError: when the losses are not finite.
    """
    stages = run.stages(run.make_method())
    found: Seconds = {}
    for name, stage in (
        ("own", stages[0]),
        *([("beside", stages[-1])] if len(stages) > run.vectors else []),
    ):
        spent = []
        for steps in (1, 1, 1 + MEASURED):  # the first warms up
            start = clock()
            sized = replace(stage.options, steps=steps, batch=batch)
            train(lm, stage.method, data, sized, run.lora, compute=run.compute)
            spent.append(clock() - start)
        found[name] = max(spent[2] - spent[1], 1e-3) / MEASURED
    return found
