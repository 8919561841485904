"""A finished run of a toy with its refusal vector."""

from pathlib import Path

import pytest
import toy

from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run import run_job

SMALL = [
    "train.steps=2",
    "train.batch=1",
    "train.lr=3e-2",
    "lora.rank=6",
    "lora.frozen=0",
    "edit.alpha=0.5",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "refuse.train.lr=1e-2",
    "data.max_length=200",
    "evaluate.forget=2",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=2",
]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder."""
    folder = tmp_path_factory.mktemp("studio")
    model = toy.with_merges(toy.saved(folder / "toy", "Qwen2"))
    run_job(make_run(with_sets({"model": str(model)}, SMALL)), folder / "run")
    return folder / "run"
