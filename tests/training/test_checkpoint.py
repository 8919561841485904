"""A state of a training that cannot be used is reported, and the training starts again."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from skunlearn.data.dataset import Data
from skunlearn.methods.sku import SKU
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.utils.errors import RunError
from skunlearn.utils.progress import Progress

STEPS = TrainOptions(steps=6, batch=2, lr=1e-2, checkpoint=2)


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


BROKEN_STATES: dict[str, Callable[[Any], Any]] = {
    "another value": lambda _: [1, 2],
    "a key less": lambda state: {key: state[key] for key in state if key != "optimizer"},
    "other shapes": lambda state: (
        state | {"parameters": {name: torch.ones(1, 1) for name in state["parameters"]}}
    ),
    "NaN": lambda state: (
        state
        | {"parameters": {n: torch.full_like(p, math.nan) for n, p in state["parameters"].items()}}
    ),
    "a step that is none": lambda state: state | {"step": "4"},
    "no optimizer": lambda state: state | {"optimizer": 7},
    "weights": lambda state: state | {"weights": [[1], 2]},
}


@pytest.mark.parametrize("kind", ["torn", "empty", "text", *BROKEN_STATES])
def test_a_broken_state_means_start_again_with_a_line(
    kind: str, pairs: tuple[Path, Path], tmp_path: Path
):
    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 5:
            raise KeyboardInterrupt

    data = Data(*pairs)
    whole = train(toy.lm(), SKU(), data, STEPS)
    runtime = TrainRuntime(checkpoint_folder=tmp_path / "state", record=stop)
    with pytest.raises(KeyboardInterrupt):
        train(toy.lm(), SKU(), data, STEPS, runtime=runtime)
    path = tmp_path / "state/training.pt"
    if kind in BROKEN_STATES:
        torch.save(BROKEN_STATES[kind](torch.load(path)), path)
    else:
        path.write_bytes({"torn": path.read_bytes()[:-99], "empty": b"", "text": b"x"}[kind])

    progress = Notes()
    steps: list[int] = []
    runtime = TrainRuntime(
        checkpoint_folder=tmp_path / "state", record=lambda record: steps.append(record["step"])
    )
    again = train(toy.lm(), SKU(), data, STEPS, runtime=runtime, progress=progress)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert any("training.pt" in note and "starts again" in note for note in progress.notes)
    assert (again - whole).norm() == 0


def test_no_state_is_written_through_a_link(pairs: tuple[Path, Path], tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    runtime = TrainRuntime(checkpoint_folder=tmp_path / "state")
    with pytest.raises(RunError, match="state is a link"):
        train(toy.lm(), SKU(), Data(*pairs), STEPS, runtime=runtime)
    assert not [*(tmp_path / "elsewhere").iterdir()]
