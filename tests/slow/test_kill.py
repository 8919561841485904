"""kill -9 in the middle, the same command again: the same tau and the same results."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy

pytestmark = pytest.mark.slow
SETS = [
    "train.steps=6", "train.batch=2", "train.checkpoint=2", "refuse.train.steps=4",
    "refuse.train.batch=2", "refuse.train.checkpoint=2", "lora.rank=2", "edit.alphas=[0.25,0.5,1]", "edit.forget=8",
    "edit.retain=4", "edit.lookalike=4", "edit.max_new_tokens=8", "evaluate.forget=70", "evaluate.seen=40",
    "evaluate.retain=20", "evaluate.lookalike=20", "evaluate.max_new_tokens=8", "data.max_length=600",
]  # fmt: skip


def start(folder: Path, cache: Path, mode: str) -> subprocess.Popen:
    sets = [word for text in [*SETS, f"lora.mode={mode}"] for word in ("--set", text)]
    return subprocess.Popen(
        [sys.executable, "-m", "skunlearn", "demo", "--out", "run", "--save", *sets],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"SKUNLEARN_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def outcome(run: Path) -> tuple[bytes, dict]:
    results = json.loads((run / "results.json").read_text())
    kept = {name: results[name] for name in ("verdict", "gates", "alpha", "scores", "curve", "losses", "transcripts")}
    return (run / "tau.safetensors").read_bytes() + (run / "tau_refuse.safetensors").read_bytes(), kept


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_killed_runs_end_like_whole_ones(mode: str, tmp_path: Path):
    cache = tmp_path / "cache"
    toy.saved(cache / "smollm2-135m")
    toy.encoder(cache / "all-minilm-l6-v2")
    (tmp_path / "whole").mkdir()
    began = time.monotonic()
    process = start(tmp_path / "whole", cache, mode)
    assert process.wait(300) == 0, process.stderr.read().decode()[-2000:]
    seconds = time.monotonic() - began
    draw = random.Random(mode)
    (tmp_path / "killed").mkdir()
    killed = 0
    for _ in range(4):  # each time a little further: a kill never loses more than a piece of work
        process = start(tmp_path / "killed", cache, mode)
        try:
            process.wait(draw.uniform(0.35, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    process = start(tmp_path / "killed", cache, mode)
    assert process.wait(300) == 0, process.stderr.read().decode()[-2000:]
    assert killed >= 2
    assert outcome(tmp_path / "whole/run") == outcome(tmp_path / "killed/run")
    names = {path.name for path in (tmp_path / "killed/run").iterdir()}
    assert "state" not in names and not any(name.endswith(".partial") for name in names)
    assert (tmp_path / "killed/run/model/model.safetensors").read_bytes() == (
        tmp_path / "whole/run/model/model.safetensors"
    ).read_bytes()
