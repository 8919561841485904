"""What strength 1 adds: the method's vectors, filtered, and the refusal vector beside them."""

from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.dataset import Data
from skunlearn.task_vectors.filters.base import dense
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.unlearn import learn

SETS = [
    "refuse.weight=1",
    "refuse.negated=0.5",
    "train.steps=1",
    "train.batch=1",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "lora.rank=2",
]


def learnt(folder: Path, pairs: tuple[Path, Path], *sets: str) -> tuple[TaskVector, Run]:
    run = make_run(with_sets({"model": "toy"}, [*SETS, *sets]))
    folder.mkdir(exist_ok=True)
    return learn(toy.lm(), run.make_method(), Data(*pairs), run, RunFolder(folder), Progress()), run


def test_filters_act_on_the_methods_vectors_alone(tmp_path: Path, pairs: tuple[Path, Path]):
    sets = ["vectors=2", "edit.filters=[mean, {name: low_rank, rank: 1}]"]
    edit, _ = learnt(tmp_path / "a", pairs, *sets)
    parts = {path.stem: TaskVector.load(path) for path in (tmp_path / "a").glob("tau*.safetensors")}
    assert set(parts) == {"tau", "tau_2", "tau_refuse", "tau_filtered"}
    assert parts["tau"].norms() != parts["tau_2"].norms()  # two seeds
    own, beside = parts["tau_filtered"].deltas, parts["tau_refuse"].deltas
    assert edit.deltas.keys() == own.keys() | beside.keys() and own.keys() & beside.keys()
    for name, delta in edit.deltas.items():
        expected = torch.zeros(delta.shape)
        if name in own:
            assert torch.linalg.matrix_rank(dense(own[name])) == 1
            expected -= 0.5 * dense(own[name])
        if name in beside:
            expected += dense(beside[name])
        torch.testing.assert_close(dense(delta), expected)
    (tmp_path / "a/tau_filtered.safetensors").stat()
    again, _ = learnt(tmp_path / "a", pairs, *sets)
    assert again.norms() == edit.norms()


def test_several_vectors_need_a_filter_that_merges(tmp_path: Path, pairs: tuple[Path, Path]):
    with pytest.raises(ConfigError, match="mean, ties or negmerge"):
        learnt(tmp_path / "b", pairs, "vectors=2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edit.filters=[trm]", "unknown filter 'trm': did you mean 'trim'"),
        ("edit.filters=[{name: trim, densty: 1}]", "unknown option 'edit.filters.0.densty'"),
        ("edit.filters=[{name: trim, density: 2}]", "trim.density=2"),
        ("vectors=0", "vectors=0"),
    ],
)
def test_wrong_filters_are_told_before_anything_is_trained(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        make_run(with_sets({}, [text]))
