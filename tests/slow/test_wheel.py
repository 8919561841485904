"""A wheel that installs into a clean environment and has its data with it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_data_and_runs(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("skunlearn-*.whl")
    venv = tmp_path / "venv"  # sees the libraries that are installed already, but not our source
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(venv)], check=True)
    python = venv / "bin/python"
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (next((venv / "lib").glob("python*")) / "site-packages/libraries.pth").write_text(libraries + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel], check=True)
    code = (
        "import skunlearn, sys; assert 'venv' in skunlearn.__file__, skunlearn.__file__;"
        "from skunlearn.data.load import Data; assert len(Data().train.forget) == 220;"
        "from skunlearn.judges.offline import OfflineJudge; OfflineJudge().judge(['a'], ['b']);"
        "from skunlearn.report.page import resource; assert 'verdict' in resource('page.html')"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
    done = subprocess.run([venv / "bin/skunlearn", "--help"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "demo" in done.stdout
