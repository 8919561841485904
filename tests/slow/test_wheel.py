"""A wheel that installs into a clean environment, has its data with it, and runs the demo there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SMALL = [
    "train.steps=2",
    "train.batch=1",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "lora.rank=2",
    "edit.alpha=0.5",
    "evaluate.forget=2",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=2",
    "data.max_length=600",
]


def test_the_wheel_holds_the_data_and_runs(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("skunlearn-*.whl")
    venv = (
        tmp_path / "venv"
    )  # what it needs must be among its own dependencies: developers have more installed
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python, known = venv / "bin/python", ROOT / "constraints.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", known, wheel], check=True)
    code = (
        "import skunlearn, sys; assert 'venv' in skunlearn.__file__, skunlearn.__file__;"
        "import importlib.util as found; assert not found.find_spec('pytest');"
        "from skunlearn.data.dataset import Data; assert len(Data().train.forget) == 220;"
        "from skunlearn.evaluation.judges.offline import OfflineJudge;"
        "OfflineJudge().judge(['a'], ['b']);"
        "from skunlearn.report.templates import resource; assert 'verdict' in resource('page.html')"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path, env=clean)
    toy.saved(tmp_path / "cache/smollm2-135m")  # the real ones need minutes
    toy.encoder(tmp_path / "cache/all-minilm-l6-v2")
    demo = [
        venv / "bin/skunlearn",
        "demo",
        "--json",
        *(word for text in SMALL for word in ("--set", text)),
    ]
    offline = clean | {"SKUNLEARN_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        demo, check=True, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=offline
    )
    results = json.loads(done.stdout)
    assert results["gates"] and (tmp_path / results["report"]).is_file()
