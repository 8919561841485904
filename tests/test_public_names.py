"""`import skunlearn` is free, and every public name is there."""

import subprocess
import sys

import pytest


def test_importing_and_helping_import_no_torch():
    code = (
        "import sys, skunlearn; assert 'torch' not in sys.modules;"
        "from skunlearn.cli.main import app; assert 'torch' not in sys.modules, 'the command line imports torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_win_over_submodules_of_the_same_name():
    import skunlearn
    import skunlearn.evaluation.evaluator
    import skunlearn.training.train
    import skunlearn.workflows.run

    assert callable(skunlearn.train) and callable(skunlearn.evaluate)
    assert set(dir(skunlearn)) == set(skunlearn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        skunlearn.nope  # noqa: B018
