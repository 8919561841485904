"""SKU by contrast: its losses by hand, its rows, and the two signs of its vector."""

import math

import pytest
import torch
import toy

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.methods.base import Scored
from skunlearn.methods.losses import answer_nll
from skunlearn.methods.sku_contrast import SKUContrast
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.models.lm import LM
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.begun_answers import begun
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.lora import LoraOptions
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.utils.errors import ConfigError

P = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
Q = torch.log(torch.tensor([[0.9, 0.1], [0.25, 0.75]]))
LABELS = torch.tensor([0, 1])
ROWS = torch.tensor([0, 0])
NLL = (math.log(2) + math.log(4)) / 2
KL = (
    0.5 * math.log(0.5 / 0.9)
    + 0.5 * math.log(0.5 / 0.1)
    + 0.75 * math.log(3)
    + 0.25 * math.log(1 / 3)
) / 2


def test_the_terms_have_their_weights():
    scored = {
        "forget": Scored(P, LABELS, ROWS),
        "refusal": Scored(P, LABELS, ROWS),
        "retain": Scored(Q, LABELS, ROWS, base_logits_NV=P),
        "lookalike": Scored(P, LABELS, ROWS, base_logits_NV=P),
    }
    method = SKUContrast(harm_weight=0.25, refusal_weight=2.0, keep_weight=3.0)
    found = {name: term.item() for name, term in method.loss(scored).items()}
    assert found["forget"] == pytest.approx(0.25 * NLL, rel=1e-5)
    assert found["refusal"] == pytest.approx(2 * NLL, rel=1e-5)
    assert found["retain"] == pytest.approx(1.5 * KL, rel=1e-5)
    assert found["lookalike"] == pytest.approx(0, abs=1e-6)


def test_only_harmful_answers_are_learnt_with_the_sign_of_the_vector():
    method = SKUContrast()
    assert method.roles == ("forget", "refusal", "retain", "lookalike")
    assert set(method.roles) - set(method.negated_roles) == {"forget"}
    assert SKUContrast(harm_weight=0.0).roles == ("refusal", "retain", "lookalike")
    assert method.edit_scale == -1.0


@pytest.mark.parametrize("options", [{"begun": 1.5}, {"kept": 0}, {"refusal_weight": 0.0}])
def test_options_out_of_range_are_refused(options: dict):
    with pytest.raises(ConfigError, match=f"method.{next(iter(options))}="):
        SKUContrast(**options)


def test_a_share_of_the_refusals_stands_behind_a_begun_answer():
    lm = toy.lm()
    data = Data()
    prompts = {row.prompt_ids for row in Rows(lm, data, SKUContrast(), 8).forget}

    def refusals(share: float) -> list[Encoded]:
        rows = Rows(lm, data, SKUContrast(begun=share), 8)
        return [row for step in range(5) for row in rows.at(step)["refusal"]]

    assert all(row.prompt_ids in prompts for row in refusals(0.0))
    assert not any(row.prompt_ids in prompts for row in refusals(1.0))
    some = [row.prompt_ids in prompts for row in refusals(0.5)]
    assert 0.2 < sum(some) / len(some) < 0.8


def test_a_begun_row_is_the_same_tokens_with_the_border_moved():
    import random

    row = Encoded((1, 2, 3), (4, 5, 6, 7))
    for seed in range(20):
        found = begun(row, random.Random(seed))
        assert found.prompt_ids + found.answer_ids == (1, 2, 3, 4, 5, 6, 7)
        assert len(found.prompt_ids) > 3 and found.answer_ids
    assert begun(Encoded((1,), (2,)), random.Random(0)) == Encoded((1,), (2,))


def nll_of(lm: LM, rows: list[Encoded]) -> float:
    batch = make_batch(lm.model, rows)
    with torch.no_grad():
        return answer_nll(scored_logits(lm.model, batch), batch.labels_N).item()


def test_added_it_complies_and_subtracted_it_refuses():
    lm = toy.lm()
    data = Data()
    method = SKUContrast(keep_weight=0.5, begun=0.0, kept=1)
    tau = train(lm, method, data, TrainOptions(steps=20, batch=4, lr=3e-3))
    rows = Rows(lm, data, method, 4)
    harmful = [row for step in range(3) for row in rows.at(step)["forget"]]
    refusals = [row for step in range(3) for row in rows.at(step)["refusal"]]
    base = nll_of(lm, harmful), nll_of(lm, refusals)
    with lm.edited(TaskVector(tau.deltas, safety=1.0)):  # for a look at the harmful side
        assert nll_of(lm, harmful) < base[0]
    with lm.edited(-1 * tau):
        assert nll_of(lm, refusals) < base[1]


@pytest.mark.parametrize(
    "compute",
    [ComputeOptions(accumulate=3), ComputeOptions(gradient_checkpointing=True)],
    ids=["chunks", "checkpoints"],
)
def test_both_signs_survive_a_second_forward_pass(compute: ComputeOptions):
    """Chunks and checkpoints compute a part of the forward pass again in the backward pass."""
    vectors = []
    for one in (ComputeOptions(), compute):
        runtime = TrainRuntime(compute=one)
        options = TrainOptions(steps=3, batch=3, lr=1e-3)
        vectors.append(train(toy.lm(), SKUContrast(), Data(), options, runtime=runtime))
    difference = vectors[0] - vectors[1]
    assert difference.norm() < 1e-3 * vectors[0].norm()


def test_full_weights_have_no_second_sign():
    with pytest.raises(ConfigError, match=r"lora\.mode=full"):
        train(toy.lm(), SKUContrast(), Data(), TrainOptions(steps=1), LoraOptions(mode="full"))
