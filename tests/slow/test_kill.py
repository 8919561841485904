"""After kill -9 at any moment, the same call gives the same bytes; no partial file looks complete.

Jobs run in forks of this process, which has everything imported, so that what is killed is work.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
import transformers
import verdicts

from skunlearn.evaluation.completions import CompletionStore
from skunlearn.task_vectors import vector_file
from skunlearn.utils.consent import allowing
from skunlearn.utils.settings import with_sets
from skunlearn.workflows import run as run_module
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.evaluate import ModelPair, evaluate_pair
from skunlearn.workflows.run import run_job
from skunlearn.workflows.tuning.tune import SearchOptions, tune

pytestmark = pytest.mark.slow
KILLS = 20
SETS = [
    "train.steps=6",
    "train.batch=2",
    "train.checkpoint=2",
    "refuse.train.steps=4",
    "refuse.train.batch=2",
    "refuse.train.checkpoint=2",
    "lora.rank=2",
    "edit.alphas=[0.25,0.5,1]",
    "edit.forget=8",
    "edit.retain=4",
    "edit.lookalike=4",
    "edit.max_new_tokens=8",
    "evaluate.forget=6",
    "evaluate.seen=8",
    "evaluate.retain=4",
    "evaluate.lookalike=12",
    "evaluate.max_new_tokens=8",
    "data.max_length=600",
    f"evaluate.judge={verdicts.HERE}",
]
Job = Callable[[], Any]


@pytest.fixture
def tree(tmp_path: Path, pairs: tuple[Path, Path]) -> dict[str, str]:
    return {
        "model": str(toy.saved(tmp_path / "base")),
        "forget": str(pairs[0]),
        "retain": str(pairs[1]),
    }


def made(tree: dict[str, str], mode: str) -> Run:
    return make_run(with_sets(tree, [*SETS, f"lora.mode={mode}"]))


def ended(job: Job, after: float | None = None) -> bool:
    """Whether it ended well, in a process of its own, before so many seconds had passed; else it
    was killed."""
    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    process.join(after)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def timed(job: Job) -> float:
    start = time.monotonic()
    assert ended(job)
    return time.monotonic() - start


def contents(folder: Path) -> dict[str, Any]:
    """What must be the same, by file: bytes, and of results all but clocks and paths."""
    names = (
        "tau.safetensors",
        "tau_refuse.safetensors",
        "strength.json",
        "model/model.safetensors",
    )
    found: dict[str, Any] = {
        name: (folder / name).read_bytes() for name in names if (folder / name).exists()
    }
    if (folder / "model").exists():
        found["model"] = sorted(path.name for path in (folder / "model").iterdir())
    if (folder / "results.json").exists():
        results = json.loads((folder / "results.json").read_text())
        kept = ("verdict", "gates", "alpha", "scores", "curve", "losses", "transcripts", "changes")
        found["results.json"] = {name: results[name] for name in kept}
    return found


def check(folder: Path, whole: dict[str, Any], finished: bool) -> None:
    """What has its name is what it would have been; at the end all of it is there, and nothing
    else."""
    found = contents(folder)
    assert found == {name: whole[name] for name in found}
    if finished:
        assert found.keys() == whole.keys()
        names = {path.name for path in folder.iterdir()}
        assert "state" not in names and not any(name.endswith(".partial") for name in names)


def killed_often(
    job: Callable[[Path], Job], tmp_path: Path, kills: int, seed: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is left of a run left alone, and of the last of those that as many kills hit at random
    moments: as many runs as it takes, whatever is left after each kill or end being part of the
    whole."""
    seconds, whole = timed(job(tmp_path / "whole")), contents(tmp_path / "whole")
    draw, folder, done = random.Random(seed), tmp_path / "killed", 0
    while True:
        if ended(job(folder), draw.uniform(0, seconds) if done < kills else None):
            check(folder, whole, finished=True)
            if done == kills:
                return whole, contents(folder)
            shutil.rmtree(folder)
        else:
            done += 1
            check(folder, whole, finished=False)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_runs_killed_at_random_moments_end_like_whole_ones(
    mode: str, tree: dict[str, str], tmp_path: Path
):
    run = made(tree, mode)
    whole, killed = killed_often(
        lambda folder: lambda: run_job(run, folder, save=True), tmp_path, KILLS, mode
    )
    assert "results.json" in whole and killed == whole


def test_a_kill_in_every_stage(tree: dict[str, str], tmp_path: Path):
    """Dead right after the call that is named, where a random moment may not come."""
    run = made(tree, "lora")

    def job() -> None:
        run_job(run, tmp_path / "killed", save=True)

    assert ended(lambda: run_job(run, tmp_path / "whole", save=True))
    whole = contents(tmp_path / "whole")
    for owner, name, after in (
        (torch, "save", ""),  # in training: the state is written, and has not got its name
        (vector_file, "save_file", ""),  # tau is written, and has not got its name
        (CompletionStore, "add", "tau_refuse.safetensors"),  # in tune: answers of the base
        (CompletionStore, "add", "strength.json"),  # in evaluate
        (run_module, "write_report", ""),
        (transformers.PreTrainedTokenizerBase, "save_pretrained", ""),  # in save
    ):
        assert not ended(lambda at=(owner, name, after): dying(*at, tmp_path / "killed", job)), name
        check(tmp_path / "killed", whole, finished=False)
    assert (tmp_path / "killed/model.skunlearn.partial").exists()
    assert ended(job)
    check(tmp_path / "killed", whole, finished=True)


def dying(owner: Any, name: str, after: str, folder: Path, job: Job) -> None:
    """The job, killed behind the first call of `owner.name` once the file `after` is there."""
    real = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        value = real(*args, **options)
        if (folder / after).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(owner, name, call)  # in this fork alone
    job()


def test_evaluations_killed_at_random_moments_end_like_whole_ones(
    tree: dict[str, str], tmp_path: Path
):
    lm = toy.lm()
    lm.apply(toy.edit(lm.model))
    lm.save(tmp_path / "edited")
    pair, run = ModelPair(str(tmp_path / "edited"), tree["model"]), made(tree, "lora")
    whole, killed = killed_often(
        lambda folder: lambda: evaluate_pair(pair, run, folder), tmp_path, 5, "evaluate"
    )
    assert "results.json" in whole and killed == whole


def test_searches_killed_at_random_moments_end_like_whole_ones(
    tree: dict[str, str], tmp_path: Path
):
    def search(folder: Path) -> None:
        with allowing(code=True):  # the folder names the judge of these tests, a file
            tune(folder, SearchOptions(trials=5))

    assert ended(lambda: run_job(made(tree, "lora"), tmp_path / "run"))
    whole, killed = (
        Path(shutil.copytree(tmp_path / "run", tmp_path / name)) for name in ("whole", "killed")
    )
    seconds = timed(lambda: search(whole))
    draw = random.Random("search")
    kills = 0
    for _ in range(5):
        kills += not ended(lambda: search(killed), draw.uniform(0.2, 0.9) * seconds)
    assert kills >= 2 and ended(lambda: search(killed))
    results = [json.loads((folder / "tune.json").read_text()) for folder in (whole, killed)]
    for name in ("trials", "number", "chosen", "test", "looks"):
        assert results[0][name] == results[1][name]
    assert contents(whole) == contents(killed) == contents(tmp_path / "run")
