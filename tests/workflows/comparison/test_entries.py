"""Entries of a comparison: names, settings, one harness; and the budgets that make them equal."""

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
from skunlearn.workflows.comparison.entries import read_entries, split
from skunlearn.workflows.config import Run, make_run

CONFIGS = Path(__file__).parents[3] / "configs"


def test_settings_of_an_entry_and_of_all():
    text = "sku,sku-hard:method.pd_mode=diverge;edit.filters=[mean, {name: trim, density: 0.1}];edit.alpha=1,ga:seeds=3"
    sku, hard, ga = read_entries(text, None, {"model": "m"}, ["train.lr=1e-3"], 2)
    assert [entry.run.method_name for entry in (sku, hard, ga)] == ["sku", "sku", "ga"]
    assert hard.run.make_method().pd_mode == "diverge" and hard.run.edit.alpha == 1
    assert hard.run.edit.filters == ("mean", {"name": "trim", "density": 0.1})
    assert {entry.run.train.lr for entry in (sku, hard, ga)} == {1e-3}
    assert {entry.run.model for entry in (sku, hard, ga)} == {"m"}
    assert (sku.seeds, hard.seeds, ga.seeds) == (2, 2, 3)


def test_negation_is_plain_unless_told_otherwise():
    plain, told, sku = read_entries("negation,negation-2:refuse.weight=1,sku", None)
    assert (plain.run.refuse.weight, told.run.refuse.weight) == (0, 1) and sku.run.refuse.weight > 0


def test_seeds_are_other_seeds_and_share_none():
    entry = read_entries("sku:vectors=3;edit.filters=[mean]", None)[0]
    seeds = [
        [s.options.seed for s in entry.seeded(n).stages(entry.run.make_method())] for n in range(2)
    ]
    assert seeds == [[0, 1, 2, 0], [3, 4, 5, 1]]
    assert entry.seeded(1).data == entry.run.data


def test_the_files_that_ship_are_read():
    assert len(read_entries(None, CONFIGS / "ablation.yaml")) == 11
    methods = read_entries(None, CONFIGS / "methods.yaml")
    from skunlearn.methods import METHODS

    assert {entry.run.method_name for entry in methods} == set(METHODS)
    off = {e.name: e.run.make_method() for e in read_entries(None, CONFIGS / "ablation.yaml")}[
        "sku-without-pd"
    ]
    assert off.pd_mode == "off"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to compare"),
        ("sku,sku", "two entries are called 'sku'"),
        ("skuu", "unknown method 'skuu': did you mean 'sku'"),
        ("../sku", "cannot name an entry"),
        ("..", "cannot name an entry"),
        ("sku:method.rd=1", "entry 'sku': unknown option 'method.rd'"),
        ("sku:preset=publishd", "did you mean 'published'"),
        ("sku:seeds=0", "seeds=0: give 1 or more"),
        ("sku:edit.alpha=-1", "negative strength"),
        ("sku,ga:evaluate.forget=3", "entry 'ga' has evaluate.forget=3, unlike 'sku'"),
        ("sku,ga:edit.alphas=[1]", r"entry 'ga' has edit.alphas=\[1.0\]"),
        ("sku,ga:forget=x.jsonl", "entry 'ga' has forget=x.jsonl"),
    ],
)
def test_wrong_entries_are_told(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_entries(text, None)


def test_brackets_hold_together():
    assert split("a, b:[1, {x: 2, y: 3}], c", ",") == ["a", "b:[1, {x: 2, y: 3}]", "c"]


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
        monkeypatch.setattr("skunlearn.workflows.comparison.budget.load", lambda *_, **__: None)

    def __call__(self) -> float:
        return self.now


def test_equal_time_with_a_fake_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch, {"SKU": 2.0, "GatedRefusal": 0.5, "NPO": 4.0, "FineTune": 0.25})
    runs = {"sku": run_of(), "npo": run_of("method=npo"), "ft": run_of("method=ft")}
    budget = Budget("equal-time", steps=30, batch=4)
    chosen, timing = budgeted(runs, budget, None, tmp_path / "b.json", Progress(), clock)
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
    assert budgeted(runs, budget, None, tmp_path / "b.json", Progress(), clock)[0] == chosen
    assert clock.now == before, "it was timed again"


@pytest.mark.parametrize(
    "error", [TrainingError("step 1: loss is nan"), ValueError("step 1: loss is nan")]
)
def test_what_cannot_be_timed(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(lm: object, method: object, *_: object, **__: object) -> None:
        if type(method).__name__ == "NPO":
            raise error

    monkeypatch.setattr("skunlearn.workflows.comparison.budget.train", fails)
    monkeypatch.setattr("skunlearn.workflows.comparison.budget.load", lambda *_, **__: None)
    runs = {"ga": run_of("method=ga"), "npo": run_of("method=npo")}
    budget = Budget("equal-time", 6, 1)
    chosen, timing = budgeted(runs, budget, None, tmp_path / "b.json", Progress(), lambda: 0.0)
    assert steps(chosen["npo"]) == [(6, 1)] and timing["entries"]["npo"] == {
        "failed": "step 1: loss is nan"
    }
    with pytest.raises(TrainingError, match="'npo', whose seconds are the budget"):
        budgeted(dict(reversed(runs.items())), budget, None, tmp_path / "b.json", Progress())


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
