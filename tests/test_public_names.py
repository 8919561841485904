"""`import skunlearn` is free, and every public name is there."""

import subprocess
import sys
from pathlib import Path

import pytest
import toy


def test_importing_and_helping_import_no_torch():
    code = (
        "import sys, skunlearn; assert 'torch' not in sys.modules;"
        "from skunlearn.cli.main import app;"
        "assert 'torch' not in sys.modules, 'the command line imports torch'"
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


def test_train_and_evaluate_take_the_keywords_of_0_1(pairs: tuple[Path, Path], tmp_path: Path):
    import skunlearn as sk
    from skunlearn.evaluation.completions import CompletionStore
    from skunlearn.training.compute import ComputeOptions

    lm, data = toy.lm(), sk.Data(*pairs)
    records: list[dict[str, float]] = []
    steps = sk.TrainOptions(steps=2, batch=1)
    older = {"compute": ComputeOptions(), "state": tmp_path / "state", "record": records.append}
    tau = sk.train(lm, sk.SKU(), data, steps, trained=sk.Trained(rank=2), **older)
    assert len(records) == 2 and next(iter(tau.deltas.values())).left_OR.shape[1] == 2
    few = sk.EvaluateOptions(forget=1, seen=1, retain=1, lookalike=0, max_new_tokens=1)
    store = CompletionStore(tmp_path / "completions.jsonl")
    base = sk.evaluate(lm, data.test, few, store=store, max_length=64)
    with lm.edited(-0.5 * tau):
        sk.evaluate(lm, data.test, few, base=base, weights="edited", store=store)
    assert (tmp_path / "completions.jsonl").is_file()
    with pytest.raises(TypeError, match="no keyword 'steps'"):
        sk.train(lm, sk.SKU(), data, steps=2)
    with pytest.raises(TypeError, match="no keyword 'stoer'"):
        sk.evaluate(lm, data.test, few, stoer=store)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    import skunlearn

    assert skunlearn.__version__ == version("skunlearn")
