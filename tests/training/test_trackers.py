"""Trackers: what they are given, and what is said when one is missing."""

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toy

from skunlearn.data.dataset import Data
from skunlearn.training import trackers as track
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.unlearn import learn

SETS = [
    "train.steps=2",
    "train.batch=1",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "lora.rank=2",
]


class Fake:
    """In place of accelerate's TensorBoardTracker and TrackioTracker."""

    made: ClassVar[list["Fake"]] = []

    def __init__(self, run_name: str, **options: Any) -> None:
        self.run_name, self.options, self.logged, self.over = run_name, options, [], False
        Fake.made.append(self)

    def start(self) -> None:
        assert not self.logged

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, set(values)))

    def finish(self) -> None:
        self.over = True


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_each_vector_logs_its_steps(
    name: str, pairs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kind = type("Kind", (Fake,), {"requires_logging_directory": name == "tensorboard"})
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", {name: kind})
    Fake.made.clear()
    run = make_run(with_sets({"model": "toy"}, [*SETS, f"compute.tracker={name}"]))
    learn(toy.lm(), run.make_method(), Data(*pairs), run, RunFolder(tmp_path), Progress())
    own, beside = Fake.made
    assert [step for step, _ in own.logged] == [1, 2] and [step for step, _ in beside.logged] == [1]
    assert {"loss", "gd", "pd", "gradient_norm"} <= own.logged[0][1] and "step" not in own.logged[
        0
    ][1]
    assert own.over and beside.over
    if name == "tensorboard":
        assert (own.run_name, own.options) == ("tau", {"logging_dir": tmp_path / "tracker"})
    else:
        assert (own.run_name, own.options) == ("skunlearn", {"name": f"{tmp_path.name}-tau"})


def test_one_that_is_missing_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    track.check_tracker("none")
    with pytest.raises(
        ConfigError, match=r"compute.tracker=wandb is not installed: pip install wandb$"
    ):
        track.check_tracker("wandb")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="pip install tensorboard"
)
def test_tensorboard_writes_its_file(tmp_path: Path):
    with track.tracked("tensorboard", tmp_path, "tau") as log:
        log({"step": 1, "loss": 2.0})
    assert any(path.name.startswith("events.out") for path in (tmp_path / "tracker/tau").iterdir())
