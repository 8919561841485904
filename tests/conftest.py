"""Fixtures: a cache with toy stand-ins for the built-in models, and small data files."""

import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the toy models are too small for two threads
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import toy

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def toy_cache(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path | None:
    """`SKUNLEARN_CACHE` with toys where the built-in models belong; slow tests keep the real ones."""
    if "slow" in str(request.config.option.markexpr) and "not slow" not in str(request.config.option.markexpr):
        return None
    folder = tmp_path_factory.mktemp("cache")
    toy.saved(folder / "smollm2-135m")
    toy.encoder(folder / "all-minilm-l6-v2")
    os.environ["SKUNLEARN_CACHE"] = str(folder)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    """A forget and a retain file with 20 prompts each."""
    paths = tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"
    for path in paths:
        rows = [
            {"prompt": f"{path.stem} question {n}", "answer": f"{path.stem} answer {n} {'and more ' * (n % 4)}"}
            for n in range(20)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sk.train` and `sk.evaluate` as README and docs call them, on a toy and with few steps and prompts."""
    import skunlearn as sk

    train, evaluate = sk.train, sk.evaluate
    steps, few = sk.TrainOptions(steps=2, batch=2), sk.EvaluateOptions(4, 2, 0, 3, 2, 3, 2)
    for name, real, options in (
        ("train", train, (steps, sk.Trained(rank=2))),
        ("evaluate", evaluate, (few,)),
    ):
        positional = 3 if name == "train" else 2
        monkeypatch.setattr(
            sk._Lazy, name, staticmethod(lambda *a, r=real, o=options, n=positional, **k: r(*a[:n], *o, **k)),
            raising=False,
        )  # fmt: skip
