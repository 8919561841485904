"""Two processes on one machine: the same losses and the same tau as one, for copies and for divided
weights."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import together
import torch
import toy

from skunlearn.task_vectors.filters.base import dense
from skunlearn.task_vectors.vector import TaskVector

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes, started by torchrun, left the outcome of each case."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("forget", "retain"):
        rows = [
            {"prompt": f"{name} question {n}", "answer": f"{name} {n} {'and more ' * (n % 4)}"}
            for n in range(20)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    done = subprocess.run(
        [*command, str(HERE / "together.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


@pytest.mark.parametrize("name", together.CASES)
def test_losses_and_tau_equal_those_of_one_process(name: str, two: Path):
    tau, records, _ = together.run(name, (two / "forget.jsonl", two / "retain.jsonl"), alone=True)
    found = json.loads((two / f"{name}.json").read_text())
    assert found["world"] == 2
    assert len(found["records"]) == len(records) == together.STEPS.steps
    for ours, plain in zip(found["records"], records, strict=True):
        assert ours == pytest.approx(plain, rel=1e-4, abs=1e-4)
    theirs = TaskVector.load(two / f"{name}.safetensors")
    assert set(theirs.deltas) == set(tau.deltas)
    for weight, delta in tau.deltas.items():
        gap = (dense(theirs.deltas[weight]) - dense(delta)).norm() / dense(delta).norm()
        assert gap < 3e-3, (weight, float(gap))
    if name.startswith("fsdp"):
        assert found["kinds"] and set(found["kinds"]) == {"DTensor"}
    else:
        assert not found["kinds"]


@pytest.mark.parametrize("name", ["lora", "fsdp-full"])
def test_a_killed_training_of_two_ends_with_the_same_bytes(name: str, two: Path):
    assert (two / f"again-{name}.safetensors").read_bytes() == (
        two / f"{name}.safetensors"
    ).read_bytes()


SETS = [
    "train.steps=6",
    "train.batch=2",
    "train.checkpoint=2",
    "refuse.train.steps=2",
    "refuse.train.batch=1",
    "lora.rank=2",
    "edit.alpha=0.5",
    "evaluate.forget=4",
    "evaluate.seen=2",
    "evaluate.retain=3",
    "evaluate.lookalike=2",
    "evaluate.max_new_tokens=4",
    "data.max_length=600",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    toy.saved(folder / "smollm2-135m")
    toy.encoder(folder / "all-minilm-l6-v2")
    return folder


def demo(
    folder: Path, cache: Path, *more: str, launcher: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    sets = [word for text in SETS for word in ("--set", text)]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            *launcher,
            "skunlearn",
            "demo",
            "--json",
            "--out",
            "run",
            *sets,
            *more,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SKUNLEARN_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )


def finished(process: subprocess.Popen[str]) -> tuple[dict, list[str]]:
    """The one JSON object on standard output, and the lines on standard error."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out), err.splitlines()


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those that were started with a rank, in its order."""
    found = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RANK" in child.environ()
    ]
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    finished(demo(folder, cache))
    return folder / "run"


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@pytest.mark.parametrize(
    ("launcher", "more"),
    [
        ((), ("--processes", "2")),
        ((), ("--processes", "2", "--set", "compute.shard=fsdp")),
        (TORCHRUN, ()),
    ],
    ids=["ours", "fsdp", "torchrun"],
)
def test_a_run_of_two_processes_is_the_run_of_one(
    launcher: tuple[str, ...], more: tuple[str, ...], alone: Path, cache: Path, tmp_path: Path
):
    process = demo(tmp_path, cache, *more, launcher=launcher)
    seen = 0
    while process.poll() is None and seen < 2:
        seen = max(seen, len(workers(process)))
        time.sleep(0.1)
    results, lines = finished(process)
    assert seen == 2 and Path(results["run"]).name == "run"
    told = [line for line in lines if line.startswith("stage 1 ...")]
    assert len(told) == 2, lines  # one for each vector: the first process alone prints
    for name in ("steps.jsonl", "steps_refuse.jsonl"):
        ours, plain = (
            [json.loads(x) for x in (run / name).read_text().splitlines()]
            for run in (tmp_path / "run", alone)
        )
        assert ours == [pytest.approx(row, rel=1e-4, abs=1e-4) for row in plain]
    for name in ("tau", "tau_refuse"):
        ours, plain = (
            TaskVector.load(run / f"{name}.safetensors") for run in (tmp_path / "run", alone)
        )
        for weight, delta in plain.deltas.items():
            assert (dense(ours.deltas[weight]) - dense(delta)).norm() < 3e-3 * dense(delta).norm()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        path.name for path in alone.iterdir()
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_run_with_one_line_and_a_repeat_resumes(
    rank: int, alone: Path, cache: Path, tmp_path: Path
):
    slow = ("--processes", "2", "--set", "train.steps=60")
    process = demo(tmp_path, cache, *slow)
    while process.poll() is None and not (tmp_path / "run/state/training.pt").exists():
        time.sleep(0.05)
    workers(process)[rank].kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and not out
    told = [line for line in err.splitlines() if line.startswith("skunlearn:")]
    assert told == [
        f"skunlearn: process {rank + 1} of 2 ended (SIGKILL; often too little memory): "
        "the same command goes on from the last finished piece of work"
    ]
    assert "Traceback" not in err and "torch/distributed" not in err
    assert not workers_left(tmp_path)
    done = torch.load(tmp_path / "run/state/training.pt", weights_only=True)["step"]
    finished(demo(tmp_path, cache, *slow))
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "run/steps.jsonl").read_text().splitlines()
    ]
    assert steps[-1] == 60 and steps.count(done) == 1, "it began anew"


def workers_left(folder: Path) -> list[int]:
    """Processes that still work in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            found += [process.pid] if process.cwd() == str(folder) else []
        except psutil.Error:
            continue
    return found


def test_a_users_error_is_told_once(cache: Path, tmp_path: Path):
    process = demo(tmp_path, cache, "--processes", "2", "--set", "lora.modules=[qproj]")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and not out
    assert [line for line in err.splitlines() if "qproj" in line] == err.splitlines()[-1:]
    assert "Traceback" not in err
