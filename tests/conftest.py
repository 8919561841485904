"""Fixtures: a cache with toy stand-ins for the built-in models, and small data files."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the toy models are too small for two threads
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import toy

from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run import run_job

torch.set_num_threads(1)
FINISHED = [
    "train.steps=2",
    "train.batch=1",
    "train.lr=1e-2",
    "lora.rank=2",
    "lora.frozen=0",
    "edit.alpha=0.7",
    "evaluate.forget=2",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=2",
    "refuse.train.steps=2",
    "refuse.train.batch=1",
    "refuse.train.lr=1e-2",
    "data.max_length=200",
    "refuse.weight=0.5",
]


@pytest.fixture(scope="session", autouse=True)
def toy_cache(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path | None:
    """`SKUNLEARN_CACHE` with toys where the built-in models belong; slow tests keep the real
    ones."""
    if "slow" in str(request.config.option.markexpr) and "not slow" not in str(
        request.config.option.markexpr
    ):
        return None
    folder = tmp_path_factory.mktemp("cache")
    toy.saved(folder / "smollm2-135m")
    toy.encoder(folder / "all-minilm-l6-v2")
    os.environ["SKUNLEARN_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        pytest.skip("no chromium on the path")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    """A forget and a retain file with 20 prompts each."""
    paths = tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"
    for path in paths:
        rows = [
            {
                "prompt": f"{path.stem} question {n}",
                "answer": f"{path.stem} answer {n} {'and more ' * (n % 4)}",
            }
            for n in range(20)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sk.train` and `sk.evaluate` as README and docs call them, with few steps and prompts."""
    import skunlearn as sk

    train, evaluate = sk.train, sk.evaluate
    steps, trained = sk.TrainOptions(steps=2, batch=2), sk.Trained(rank=2)
    few = sk.EvaluateOptions(forget=4, seen=2, retain=3, lookalike=2, max_new_tokens=2)
    little = {
        "train": lambda lm, method, data: train(lm, method, data, steps, trained),
        "evaluate": lambda lm, part, **base: evaluate(lm, part, few, **base),
    }
    for name, function in little.items():
        monkeypatch.setattr(sk, name, function, raising=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`finished(family, *sets)`: the folder of a finished run on a toy model, made once for each
    case."""
    made: dict[tuple[str, ...], Path] = {}

    def run(family: str, *sets: str) -> Path:
        if (family, *sets) not in made:
            folder = tmp_path_factory.mktemp(family)
            model = toy.with_merges(toy.saved(folder / f"toy-{family}", family))
            run_job(
                make_run(with_sets({"model": str(model)}, [*FINISHED, *sets])),
                folder / "run",
                save=True,
            )
            made[family, *sets] = folder / "run"
        return made[family, *sets]

    return run
