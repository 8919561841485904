"""A finished run on a toy model for each case, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import toy

from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run import run_job

SMALL = [
    "train.steps=2", "train.batch=1", "train.lr=1e-2", "lora.rank=2", "lora.frozen=0", "edit.alpha=0.7",
    "evaluate.forget=2", "evaluate.seen=1", "evaluate.retain=2", "evaluate.lookalike=1", "evaluate.max_new_tokens=2",
    "refuse.train.steps=2", "refuse.train.batch=1", "refuse.train.lr=1e-2", "data.max_length=200",
    "refuse.weight=0.5",
]  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`finished(family, *sets)`: the run folder."""
    made: dict[tuple[str, ...], Path] = {}

    def run(family: str, *sets: str) -> Path:
        if (family, *sets) not in made:
            folder = tmp_path_factory.mktemp(family)
            model = toy.with_merges(toy.saved(folder / f"toy-{family}", family))
            run_job(make_run(with_sets({"model": str(model)}, [*SMALL, *sets])), folder / "run", save=True)
            made[family, *sets] = folder / "run"
        return made[family, *sets]

    return run
