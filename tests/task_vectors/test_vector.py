"""Task-vector algebra, exact for factors and for dense differences."""

import stat
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import save_file

from skunlearn.task_vectors.vector import LowRank, TaskVector, weighted_sum
from skunlearn.utils.errors import ModelError


def vectors() -> tuple[TaskVector, TaskVector]:
    torch.manual_seed(0)
    low = LowRank(torch.randn(4, 2), torch.randn(2, 3))
    return TaskVector({"weight": low}, -1.0), TaskVector(
        {"weight": torch.randn(4, 3), "bias": torch.randn(4)}, -1.0
    )


def dense(tau: TaskVector, name: str = "weight") -> torch.Tensor:
    delta = tau.deltas[name]
    return delta.dense() if isinstance(delta, LowRank) else delta


def test_operators_are_those_of_the_dense_matrices():
    a, b = vectors()
    both = a + 2.0 * b
    assert torch.allclose(dense(both), dense(a) + 2 * dense(b))
    assert torch.allclose(dense(a - b), dense(a) - dense(b))
    assert torch.allclose(dense(-a), -dense(a))
    assert torch.equal(dense(both, "bias"), 2 * dense(b, "bias"))


def test_a_sum_of_factors_stays_factors_and_is_exact():
    a, _ = vectors()
    total = a + -0.5 * a
    assert isinstance(total.deltas["weight"], LowRank)
    assert torch.allclose(dense(total), 0.5 * dense(a), atol=1e-6)


def test_the_norm_needs_no_dense_matrix():
    a, b = vectors()
    assert a.norm() == pytest.approx(dense(a).norm().item(), rel=1e-6)
    assert b.norm() == pytest.approx(
        (dense(b).norm() ** 2 + dense(b, "bias").norm() ** 2).sqrt().item(), rel=1e-6
    )


def test_between_two_checkpoints_and_back():
    model, other = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    tau = TaskVector.between(model.state_dict(), other.state_dict(), safety=1.0)
    tau.apply_to(model)
    assert all(
        torch.allclose(a, b, atol=1e-7)
        for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )
    with pytest.raises(ModelError, match="equal"):
        TaskVector.between(other.state_dict(), other.state_dict())
    with pytest.raises(ModelError, match="differ"):
        TaskVector.between(other.state_dict(), {})


def test_the_way_to_the_bad_model_is_refused():
    tau, _ = vectors()
    model = torch.nn.Linear(3, 4)
    before = model.weight.clone()
    for vector in (tau, 0.5 * tau, -1.0 * (-1.0 * tau), tau + -1.0 * tau):
        with pytest.raises(ModelError, match="harmful"):
            vector.apply_to(model)
    assert torch.equal(model.weight, before)
    (-0.8 * tau).apply_to(model)
    assert torch.allclose(model.weight, before - 0.8 * dense(tau))


def test_a_vector_of_another_model_changes_nothing():
    model = torch.nn.Linear(3, 4)
    before = model.weight.clone()
    good = torch.ones(4, 3)
    for deltas in ({"weight": good, "nope": good}, {"weight": good, "bias": torch.ones(5)}):
        with pytest.raises(ModelError):
            TaskVector(deltas, 1.0).apply_to(model)
    assert torch.equal(model.weight, before)


def test_quantised_weights_are_refused_instead_of_ignored():
    model = torch.nn.Linear(3, 4)
    model.weight = torch.nn.Parameter(torch.zeros(4, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match="quantised"):
        TaskVector({"weight": torch.ones(4, 3)}, 1.0).apply_to(model)


def test_half_precision_weights_are_summed_in_fp32():
    model = torch.nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    model.weight.data.fill_(1.0)
    TaskVector({"weight": torch.full((1, 1), 0.004)}, 1.0).apply_to(model)
    assert model.weight.item() == torch.tensor(1.004).to(torch.bfloat16).item()
    assert model.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_a_weight_that_did_not_move_is_an_error(bad: float):
    tau = TaskVector({"a": torch.ones(2), "b": torch.full((2,), bad)}, -1.0)
    with pytest.raises(ModelError, match="1 of 2 trained weights"):
        tau.check_moved()


def test_save_and_load(tmp_path: Path):
    a, b = vectors()
    for tau in (a, 0.5 * b):
        tau.save(tmp_path / "tau.safetensors", model="toy")
        again = TaskVector.load(tmp_path / "tau.safetensors")
        assert again.safety == tau.safety
        assert all(torch.equal(dense(again, name), dense(tau, name)) for name in tau.deltas)
    assert stat.S_IMODE((tmp_path / "tau.safetensors").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["tau.safetensors"]


def test_a_broken_file_is_a_clear_error(tmp_path: Path):
    path = tmp_path / "tau.safetensors"
    with pytest.raises(ModelError, match="not a readable"):
        TaskVector.load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not a readable"):
        TaskVector.load(path)


def test_a_weighted_sum_adds_from_the_first_part_to_the_last():
    """To the bit: a file that was made with these operators must be found again."""
    a, b = vectors()
    torch.manual_seed(1)
    c = TaskVector({"weight": torch.randn(4, 3), "other": torch.randn(2)}, 1.0)
    for parts in ([(-0.3, a)], [(0.7, b), (0.1, c), (-1.3, a)], [(-1.0, a), (0.5, a), (0.1, c)]):
        weight, vector = parts[0]
        wanted = weight * vector
        for weight, vector in parts[1:]:
            wanted = wanted + weight * vector
        found = weighted_sum(part for part in parts)
        assert list(found.deltas) == list(wanted.deltas) and found.safety == wanted.safety
        for name, delta in wanted.deltas.items():
            assert type(found.deltas[name]) is type(delta)
            assert torch.equal(dense(found, name), dense(wanted, name))


def test_a_weighted_sum_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        weighted_sum([])


def test_shapes_that_differ_cannot_be_added():
    a, _ = vectors()
    with pytest.raises(ModelError, match=r"'weight': shapes \(4, 3\) and \(5, 3\)"):
        weighted_sum([(1.0, a), (1.0, TaskVector({"weight": torch.ones(5, 3)}, 1.0))])


def test_numbers_on_either_side_division_and_sums():
    tau = TaskVector({"w": torch.ones(2, 2), "f": LowRank(torch.ones(2, 1), torch.ones(1, 2))}, 1.0)
    for half in (0.5 * tau, tau * 0.5, tau / 2):
        assert half.safety == 0.5 and torch.equal(half.deltas["w"], torch.full((2, 2), 0.5))
    assert sum([tau, tau]).norm() == pytest.approx((2.0 * tau).norm())
    for wrong in (lambda: tau * "x", lambda: tau + 1, lambda: 1 + tau, lambda: tau / "x"):
        with pytest.raises(TypeError, match=r"unsupported operand|can't multiply"):
            wrong()


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf")])
def test_factors_that_are_no_numbers_are_refused(factor: float):
    tau = TaskVector({"w": torch.ones(2, 2)}, 1.0)
    for wrong in (lambda: factor * tau, lambda: tau * factor, lambda: tau / 0):
        with pytest.raises(ModelError, match=r"give a .*number"):
            wrong()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("form", ["dense", "left", "right"])
def test_entries_that_are_no_numbers_are_refused(bad: float, form: str, tmp_path: Path):
    model = toy.model()
    name = "model.layers.1.self_attn.q_proj.weight"
    weight = model.get_parameter(name)
    rows, columns = weight.shape
    parts = {"left": torch.ones(rows, 2), "right": torch.ones(2, columns)}
    delta = (
        torch.ones(rows, columns)
        if form == "dense"
        else LowRank(left_OR=parts["left"], right_RI=parts["right"])
    )
    spoilt = delta if form == "dense" else parts[form]
    spoilt[1, 1] = bad
    tau = TaskVector({name: delta}, 1.0)
    before = weight.detach().clone()
    with pytest.raises(ModelError, match=f"'{name}' has infinite or NaN entries"):
        tau.apply_to(model)
    assert torch.equal(weight, before)
    tau.save(str(tmp_path / "x.safetensors"))
    with pytest.raises(ModelError, match="infinite or NaN entries"):
        TaskVector.load(str(tmp_path / "x.safetensors"))


def test_a_safety_that_is_no_number_is_refused(tmp_path: Path):
    tau = TaskVector({"w": torch.ones(2, 2)}, float("nan"))
    with pytest.raises(ModelError, match="safety is nan"):
        tau.check_safe()
    tau.save(tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"x\.safetensors: the header: .*NaN"):
        TaskVector.load(tmp_path / "x.safetensors")


HEADERS = [
    "[1]",
    "7",
    "{",
    "[" * 3000 + "]" * 3000,
    '{"format": "skunlearn-task-vector-1"}',
    '{"format": "skunlearn-task-vector-1", "safety": [1]}',
    '{"format": "skunlearn-task-vector-1", "safety": true}',
    '{"format": "skunlearn-task-vector-1", "safety": 1e300}',
    '{"format": "skunlearn-task-vector-1", "safety": ' + "9" * 5000 + "}",
    '{"format": "skunlearn-task-vector-1", "safety": 1, "safety": 2}',
    '{"format": ["skunlearn-task-vector-1"], "safety": 1}',
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_somebody_changed_is_one_line(header: str, tmp_path: Path):
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.ones(2, 2)}, path, metadata={"skunlearn": header})
    with pytest.raises(ModelError, match=r"x\.safetensors"):
        TaskVector.load(path)


@pytest.mark.parametrize("right", [None, torch.ones(3, 4), torch.ones(2)])
def test_factors_that_do_not_fit_are_one_line(right: torch.Tensor | None, tmp_path: Path):
    path = tmp_path / "x.safetensors"
    tensors = {"w::left": torch.ones(4, 2)} | ({} if right is None else {"w::right": right})
    header = '{"format": "skunlearn-task-vector-1", "safety": 1.0}'
    save_file(tensors, path, metadata={"skunlearn": header})
    with pytest.raises(ModelError, match="factors of 'w' do not fit"):
        TaskVector.load(path)


def test_saving_that_fails_leaves_nothing_behind(tmp_path: Path):
    tau = TaskVector({"w": torch.ones(2, 2)}, 1.0)
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match="taken: this is a folder"):
        tau.save(str(tmp_path / "taken"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("where", ["folder", "folder/", "nowhere/x", "."])
def test_a_path_that_cannot_be_a_file_is_refused_before_anything_is_written(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(ModelError, match="give the name of a file"):
        TaskVector({"w": torch.ones(2, 2)}, 1.0).save(where)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
