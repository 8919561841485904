"""Equal budgets: the same steps or the same seconds for each entry of a comparison."""

from pathlib import Path

import pytest
import toy

from skunlearn.data.dataset import Data
from skunlearn.utils.errors import ConfigError, TrainingError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.comparison.budget import (
    Budget,
    budgeted,
    seconds_a_step,
    seconds_of,
    with_steps,
    within_seconds,
)
from skunlearn.workflows.config import Run, make_run


def steps(run: Run) -> list[tuple[int, int]]:
    return [(stage.options.steps, stage.options.batch) for stage in run.stages(run.make_method())]


def run_of(*sets: str) -> Run:
    return make_run(with_sets({}, ["train.steps=10", "refuse.train.steps=20", *sets]))


def test_equal_steps_are_shared_among_the_vectors_as_they_were():
    assert steps(with_steps(run_of(), 30, 4)) == [(10, 4), (20, 4)]
    assert steps(with_steps(run_of("method=ga"), 30, 4)) == [(30, 4)]
    assert steps(with_steps(run_of("vectors=3", "edit.filters=[mean]"), 30, 2)) == [(6, 2)] * 3 + [
        (12, 2)
    ]
    assert steps(with_steps(run_of(), 2, 1)) == [(1, 1), (1, 1)]
    with pytest.raises(ConfigError, match="1 steps are too few for 2 vectors"):
        with_steps(run_of(), 1, 1)


def test_equal_time_by_hand():
    ga = run_of("method=ga")
    assert steps(within_seconds(ga, {"own": 0.5}, 30.0, 4)) == [(60, 4)]
    assert steps(within_seconds(ga, {"own": 7.0}, 30.0, 4)) == [(4, 4)]  # 28 s; five would be 35
    assert steps(within_seconds(ga, {"own": 99.0}, 30.0, 4)) == [(1, 4)]  # one at least
    sku = within_seconds(run_of(), {"own": 2.0, "beside": 0.5}, 30.0, 4)
    assert steps(sku) == [(10, 4), (20, 4)] and seconds_of(sku, {"own": 2.0, "beside": 0.5}) == 30


class Clock:
    """A second for each optimiser step, times the slowness of the method; ten to begin with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: dict[str, float]) -> None:
        self.now = 0.0

        def train(
            lm: object, method: object, data: object, options: object, trained: object, **_: object
        ) -> None:
            self.now += 10 + options.steps * slow[type(method).__name__]

        monkeypatch.setattr("skunlearn.workflows.comparison.budget.train", train)
        monkeypatch.setattr("skunlearn.workflows.comparison.budget.load", lambda *_, **__: toy.lm())

    def __call__(self) -> float:
        return self.now


def test_equal_time_with_a_fake_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch, {"SKU": 2.0, "GatedRefusal": 0.5, "NPO": 4.0, "FineTune": 0.25})
    runs = {"sku": run_of(), "npo": run_of("method=npo"), "ft": run_of("method=ft")}
    budget = Budget("equal-time", steps=30, batch=4)
    chosen, timing = budgeted(runs, budget, Data(), tmp_path / "b.json", Progress(), clock)
    assert {name: steps(run) for name, run in chosen.items()} == {
        "sku": [(10, 4), (20, 4)],  # 10 * 2 + 20 * 0.5 = 30 s, so that is the budget
        "npo": [(7, 4)],
        "ft": [(120, 4)],
    }
    assert timing["seconds"] == 30 and timing["entries"]["sku"]["seconds_a_step"] == {
        "own": 2.0,
        "beside": 0.5,
    }
    before = clock.now
    assert budgeted(runs, budget, Data(), tmp_path / "b.json", Progress(), clock)[0] == chosen
    assert clock.now == before, "it was timed again"


@pytest.mark.parametrize(
    "error", [TrainingError("step 1: loss is nan"), ValueError("step 1: loss is nan")]
)
def test_what_cannot_be_timed(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(lm: object, method: object, *_: object, **__: object) -> None:
        if type(method).__name__ == "NPO":
            raise error

    monkeypatch.setattr("skunlearn.workflows.comparison.budget.train", fails)
    monkeypatch.setattr("skunlearn.workflows.comparison.budget.load", lambda *_, **__: toy.lm())
    runs = {"ga": run_of("method=ga"), "npo": run_of("method=npo")}
    budget = Budget("equal-time", 6, 1)
    chosen, timing = budgeted(runs, budget, Data(), tmp_path / "b.json", Progress(), lambda: 0.0)
    assert steps(chosen["npo"]) == [(6, 1)] and timing["entries"]["npo"] == {
        "failed": "step 1: loss is nan"
    }
    with pytest.raises(TrainingError, match="'npo', whose seconds are the budget"):
        budgeted(dict(reversed(runs.items())), budget, Data(), tmp_path / "b.json", Progress())


def test_a_step_is_timed_on_the_real_loop(pairs: tuple[Path, Path]):
    """Every reading of the clock is a second later: what is measured does not depend on this
    machine."""
    ticks = iter(range(100))
    run = make_run(with_sets({}, ["lora.rank=2"]))
    found = seconds_a_step(toy.lm(), run, Data(*pairs), 1, lambda: float(next(ticks)) ** 2)
    # readings 0 1 (a warm-up), 4 9, 16 25: (25 - 16) - (9 - 4) = 4 over two steps; likewise the
    # next three
    assert found == {"own": 2.0, "beside": 2.0}


def test_budgets_that_are_none():
    with pytest.raises(ConfigError, match="did you mean 'equal-time'"):
        Budget("equaltime")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--steps 0"):
        Budget(steps=0)
