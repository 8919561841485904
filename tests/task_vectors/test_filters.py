"""Filters: by hand on small matrices; identity settings change nothing; norms never grow where they
must not."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Example
from skunlearn.methods.losses import answer_nll
from skunlearn.models.architecture import linear_modules
from skunlearn.models.forward import scored_logits
from skunlearn.task_vectors.filters import FILTERS
from skunlearn.task_vectors.filters.base import Filter, dense, filtered
from skunlearn.task_vectors.filters.collapse import Collapse
from skunlearn.task_vectors.filters.conditional import Conditional
from skunlearn.task_vectors.filters.dare import Dare
from skunlearn.task_vectors.filters.fisher import Fisher
from skunlearn.task_vectors.filters.low_rank import LowRankOnly
from skunlearn.task_vectors.filters.mask import Mask
from skunlearn.task_vectors.filters.mean import Mean
from skunlearn.task_vectors.filters.negmerge import NegMerge, agreed
from skunlearn.task_vectors.filters.null_space import NullSpace, without_inputs
from skunlearn.task_vectors.filters.ties import Ties, elected
from skunlearn.task_vectors.filters.trim import Trim, trimmed
from skunlearn.task_vectors.vector import LowRank, TaskVector
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import resolve


def context(family: str = "Llama") -> RetainStatistics:
    lm = toy.lm(family)
    rows = [lm.template.encode(Example(f"ask {n}", f"answer {n * n}"), 60) for n in range(6)]
    return RetainStatistics(lm, rows)


def vector(seed: int = 0, family: str = "Llama", rank: int | None = 3) -> TaskVector:
    """Random, on every linear module of the toy."""
    model, deltas = toy.model(family), {}
    torch.manual_seed(seed)
    for name in linear_modules(model):
        first, second = model.get_parameter(f"{name}.weight").shape
        factors = LowRank(torch.randn(first, 3), torch.randn(3, second))
        deltas[f"{name}.weight"] = factors if rank else factors.dense()
    return TaskVector(deltas, -1.0)


def test_trim_keeps_the_largest():
    assert trimmed(torch.tensor([[3.0, -1.0], [-4.0, 2.0]]), 0.5).tolist() == [
        [3.0, 0.0],
        [-4.0, 0.0],
    ]
    assert trimmed(torch.ones(2, 2), 0.0).abs().sum() == 0


def test_ties_elects_signs_and_averages_those_who_agree():
    found = elected(
        [
            torch.tensor([[1.0, 2.0, 0.0]]),
            torch.tensor([[3.0, -5.0, 4.0]]),
            torch.tensor([[-1.0, 1.0, 0.0]]),
        ]
    )
    assert found.tolist() == [[2.0, -5.0, 4.0]]  # (1+3)/2; -5 outweighs 2+1; zeros do not dilute


def test_negmerge_keeps_only_agreement():
    assert agreed(
        [torch.tensor([[1.0, 2.0, -3.0]]), torch.tensor([[3.0, -5.0, -1.0]])]
    ).tolist() == [[2.0, 0.0, -2.0]]


def test_dare_keeps_the_mean_change():
    tau = TaskVector({"w": torch.ones(300, 300)}, -1.0)
    found = dense(Dare(drop=0.75, seed=1)([tau], context()).deltas["w"])
    assert set(found.unique().tolist()) == {0.0, 4.0} and found.mean().item() == pytest.approx(
        1.0, abs=0.03
    )


def test_truncation_and_collapse_are_the_two_ends_of_the_spectrum():
    tau = TaskVector({"w": torch.diag(torch.tensor([5.0, 3.0, 1.0]))}, -1.0)
    top, rest = (
        f([tau], context()).deltas["w"] for f in (LowRankOnly(rank=1), Collapse(components=1))
    )
    torch.testing.assert_close(dense(top), torch.diag(torch.tensor([5.0, 0.0, 0.0])))
    torch.testing.assert_close(dense(rest), torch.diag(torch.tensor([0.0, 3.0, 1.0])))
    assert not dense(Collapse(components=3)([tau], context()).deltas["w"]).any()


def test_truncation_of_factors_equals_that_of_their_product():
    factors = LowRank(torch.randn(7, 3), torch.randn(3, 5))
    both = [TaskVector({"w": d}, 1.0) for d in (factors, factors.dense())]
    a, b = (dense(LowRankOnly(rank=2)([tau], context()).deltas["w"]) for tau in both)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("conv", [False, True])
def test_protected_inputs_are_moved_by_nothing(conv: bool):
    u_IK = torch.linalg.qr(torch.randn(6, 2)).Q
    factors = (
        LowRank(torch.randn(6, 3), torch.randn(3, 4))
        if conv
        else LowRank(torch.randn(4, 3), torch.randn(3, 6))
    )
    for delta in (factors, factors.dense()):
        found = dense(without_inputs(delta, u_IK, conv))
        assert (u_IK.T @ found if conv else found @ u_IK).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_null_space_moves_ordinary_inputs_less(family: str):
    it, tau = context(family), vector(family=family)
    found = NullSpace(directions=8)([tau], it)
    moments = it.input_moments(tau.deltas)
    for name, delta in tau.deltas.items():
        d = [dense(x).T if family == "GPT2" else dense(x) for x in (delta, found.deltas[name])]
        before, after = (
            float(torch.trace(x @ moments[name] @ x.T)) for x in d
        )  # mean square of D x
        assert after < 0.9 * before, name


def test_fisher_moves_important_entries_less(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        RetainStatistics, "fisher", lambda self, names: {"w": torch.tensor([[0.0, 1.0, 5.0]])}
    )
    found = Fisher(strength=2.0)([TaskVector({"w": torch.ones(1, 3)}, -1.0)], context())
    assert dense(found.deltas["w"])[0].tolist() == pytest.approx([1.0, 1 / 2, 1 / 6])  # mean is 2


def test_the_fisher_is_the_mean_square_gradient():
    it = context()
    name = "model.layers.0.mlp.up_proj.weight"
    found = it.fisher([name])[name]
    weight, squares = it.lm.model.get_parameter(name), []
    weight.requires_grad_(True)
    for batch in it.batches:
        loss = answer_nll(scored_logits(it.lm.model, batch), batch.labels_N)
        squares.append(torch.autograd.grad(loss, weight)[0] ** 2)
    torch.testing.assert_close(found, sum(squares) / len(squares))
    assert all(p.requires_grad and p.grad is None for p in it.lm.model.parameters())  # as it was


def test_every_filter_has_a_row_in_the_docs_with_its_options():
    text = (Path(__file__).parents[2] / "docs/methods.md").read_text()
    rows = {
        line.split("`")[1]: line
        for line in text.partition("## Filters")[2].splitlines()
        if line.startswith("| `")
    }
    for name in FILTERS:
        options = [field.name for field in fields(resolve(name, FILTERS, "filter"))]
        assert all(f"`{option}=" in rows[name] for option in options), name


def test_a_mask_takes_layers_and_scales_modules():
    tau = vector()
    found = Mask(first=0.3, modules={"q_proj": 0.5, "o_proj": 0.0})([tau], context())
    assert {name.split(".")[2] for name in found.deltas} == {"1", "2"}  # of three layers
    assert not any("o_proj" in name for name in found.deltas)
    q, v = (f"model.layers.1.self_attn.{kind}.weight" for kind in ("q_proj", "v_proj"))
    torch.testing.assert_close(dense(found.deltas[q]), 0.5 * dense(tau.deltas[q]))
    torch.testing.assert_close(dense(found.deltas[v]), dense(tau.deltas[v]))
    with pytest.raises(ConfigError, match="did you mean 'q_proj'"):
        Mask(modules={"q_prj": 1.0})([tau], context())


def test_a_mask_scales_bands_of_the_layers_that_the_vector_has():
    tau = vector()
    upper = TaskVector({name: d for name, d in tau.deltas.items() if ".0." not in name}, tau.safety)
    found = Mask(bands=(0.5, 2.0), modules={"q_proj": 3.0})([upper], context())  # layers 1 and 2
    for layer, kind, scale in (
        (1, "q_proj", 1.5),
        (1, "v_proj", 0.5),
        (2, "q_proj", 6.0),
        (2, "v_proj", 2.0),
    ):
        name = f"model.layers.{layer}.self_attn.{kind}.weight"
        torch.testing.assert_close(dense(found.deltas[name]), scale * dense(tau.deltas[name]))
    assert not any(".1." in name for name in Mask(bands=(0.0, 1.0))([upper], context()).deltas)
    with pytest.raises(ConfigError, match="scales of 0 or more"):
        Mask(bands=(1.0, -1.0))


def test_a_mean_of_equals_is_the_same_and_points_as_far():
    tau = vector()
    found = Mean()([tau, tau], context())
    assert found.safety == tau.safety
    for name in tau.deltas:
        torch.testing.assert_close(dense(found.deltas[name]), dense(tau.deltas[name]))


@pytest.mark.parametrize(
    "identity",
    [
        Trim(1.0),
        Dare(0.0),
        LowRankOnly(99),
        Collapse(0),
        NullSpace(0),
        Fisher(0.0),
        Mask(),
        Mean(),
        NegMerge(),
        Ties(1.0),
    ],
)
@pytest.mark.parametrize("rank", [3, None])
def test_identity_settings_leave_the_vector(identity: Filter, rank: int | None):
    tau = vector(rank=rank)
    found = identity([tau], context())
    assert found.safety == tau.safety and set(found.deltas) == set(tau.deltas)
    for name in tau.deltas:
        torch.testing.assert_close(
            dense(found.deltas[name]), dense(tau.deltas[name]), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    "shrinking",
    [
        Trim(0.3),
        LowRankOnly(1),
        Collapse(1),
        NullSpace(4),
        Fisher(3.0),
        Mask(last=0.5),
        Mean(),
        NegMerge(),
    ],
)
def test_norms_never_grow(shrinking: Filter):
    taus = [vector(0), vector(1)] if isinstance(shrinking, Mean | NegMerge) else [vector(0)]
    found = shrinking(taus, context())
    largest = {name: max(tau.norms()[name] for tau in taus) for name in taus[0].deltas}
    assert all(norm <= largest[name] * (1 + 1e-5) for name, norm in found.norms().items())
    assert found.norm() < max(tau.norm() for tau in taus)


def test_no_entry_of_ties_is_larger_than_the_largest_of_its_vectors():
    """Its norm may be: what one vector has and the other has not stays whole."""
    taus = [vector(0), vector(1)]
    for name, delta in Ties(0.4)(taus, context()).deltas.items():
        largest = torch.stack([dense(tau.deltas[name]).abs() for tau in taus]).amax(dim=0)
        assert (dense(delta).abs() <= largest + 1e-5).all()


def test_filters_follow_each_other_and_several_vectors_need_one_that_merges():
    taus = [vector(0), vector(1)]
    found = filtered([Mean(), LowRankOnly(1)], taus, context())
    assert all(torch.linalg.matrix_rank(dense(d)) == 1 for d in found.deltas.values())
    with pytest.raises(ConfigError, match="mean, ties or negmerge first"):
        filtered([Trim(0.5)], taus, context())


def test_a_filter_that_leaves_nothing_says_so():
    with pytest.raises(ConfigError, match="nothing is left of the vector after Collapse"):
        filtered([Trim(0.5), Collapse(components=64)], [vector(0)], context())


def test_every_name_resolves_and_bad_options_are_refused():
    made: Sequence[Filter] = [resolve(name, FILTERS, "filter")() for name in FILTERS]
    assert len({type(one) for one in made}) == len(FILTERS)
    for wrong in (
        lambda: Trim(1.5),
        lambda: Dare(1.0),
        lambda: LowRankOnly(0),
        lambda: Fisher(float("nan")),
    ):
        with pytest.raises(ConfigError):
            wrong()


class HarmfulAndHarmless:
    """Moments of one module from a table."""

    depth = 1

    def __init__(self, harmful: list[float], harmless: list[float]) -> None:
        self.tables = [torch.diag(torch.tensor(one)) for one in (harmful, harmless)]

    def input_axis(self, name: str) -> int | None:
        return 1

    def harmful_moments(self, names: Sequence[str]) -> dict[str, torch.Tensor]:
        return dict.fromkeys(names, self.tables[0])

    def harmless_moments(self, names: Sequence[str]) -> dict[str, torch.Tensor]:
        return dict.fromkeys(names, self.tables[1])


def test_conditional_keeps_harmful_inputs_and_drops_harmless_ones():
    moments = HarmfulAndHarmless([4.0, 4.0, 0.0], [0.0, 2.0, 2.0])
    found = Conditional(harmless=3.0, ridge=0.5)(
        [TaskVector({"w": torch.ones(2, 3)}, -1.0)], moments
    )
    # c_h / (c_h + 3 c_b + 0.5 * (4 + 4 + 0) / 3), input by input
    ridge = 0.5 * 8 / 3
    expected = [4 / (4 + ridge), 4 / (4 + 6 + ridge), 0.0]
    assert dense(found.deltas["w"])[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_conditional_is_the_best_change_of_its_kind():
    """No other change has a smaller sum of the three squares that the filter minimises."""
    torch.manual_seed(0)
    a_33, b_33 = torch.randn(3, 5), torch.randn(3, 5)
    c_h, c_b = a_33 @ a_33.T, b_33 @ b_33.T
    delta = torch.randn(2, 3)
    mapped = delta @ Conditional(2.0, 0.3).input_map(c_h, c_b)

    def cost(d: torch.Tensor) -> float:
        off = d - delta
        ridge = 0.3 * c_h.diagonal().mean() * d.square().sum()
        return float((off @ c_h @ off.T).trace() + 2 * (d @ c_b @ d.T).trace() + ridge)

    for _ in range(20):
        assert cost(mapped + 0.05 * torch.randn(2, 3)) > cost(mapped)


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
@pytest.mark.parametrize("rank", [3, None])
def test_conditional_on_a_model(family: str, rank: int | None):
    measured = context(family)
    lm = measured.lm
    rows = [lm.template.encode(Example(f"bad {n}", f"do {n}{n}"), 60) for n in range(4)]
    with_rows = RetainStatistics(
        lm, measured.retain, harmful=rows, refused=rows, harmless=measured.retain
    )
    tau = vector(1, family, rank)
    found = Conditional()([tau], with_rows)
    assert 0 < found.norm() < tau.norm()
    assert {type(delta) for delta in found.deltas.values()} == {
        type(delta) for delta in tau.deltas.values()
    }
    with pytest.raises(ConfigError, match="forget rows"):
        Conditional()([tau], measured)


def test_moments_read_only_the_tokens_of_their_window():
    lm = toy.lm()
    row = lm.template.encode(Example("ask", "a long answer of many letters"), 60)
    longer = Encoded(row.prompt_ids, row.answer_ids + row.answer_ids)
    name = "model.layers.0.self_attn.q_proj.weight"
    first = RetainStatistics(lm, [row], harmful=[row], refused=[row], harmless=[row])
    second = RetainStatistics(lm, [longer], harmful=[longer], refused=[row], harmless=[row])
    assert torch.allclose(
        first.harmful_moments([name])[name], second.harmful_moments([name])[name], atol=1e-5
    )
    assert not torch.allclose(
        first.input_moments([name])[name], second.input_moments([name])[name], atol=1e-5
    )


@pytest.mark.parametrize("options", [{"harmless": -1.0}, {"ridge": 0.0}])
def test_conditional_refuses_options_out_of_range(options: dict):
    with pytest.raises(ConfigError, match="conditional"):
        Conditional(**options)
