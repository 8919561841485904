"""SKU's three losses against numbers worked out by hand, and its options."""

import math

import pytest
import torch

from skunlearn.methods.base import Scored
from skunlearn.methods.sku import SKU
from skunlearn.utils.errors import ConfigError

P = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
Q = torch.log(torch.tensor([[0.9, 0.1], [0.25, 0.75]]))
LABELS = torch.tensor([0, 1])
ROWS = torch.tensor([0, 0])
KL = (
    0.5 * math.log(0.5 / 0.9)
    + 0.5 * math.log(0.5 / 0.1)
    + 0.75 * math.log(3)
    + 0.25 * math.log(1 / 3)
) / 2
SCORED = {
    "forget": Scored(P, LABELS, ROWS),
    "mismatch": Scored(Q, LABELS, ROWS),
    "retain": Scored(Q, LABELS, ROWS, base_logits_NV=P),
}


def values(method: SKU) -> dict[str, float]:
    return {
        name: term.item()
        for name, term in method.loss({r: SCORED[r] for r in method.roles}).items()
    }


def test_the_three_terms():
    found = values(SKU(gd_weight=2.5, rd_weight=2.0, pd_weight=0.5, pd_mode="diverge", pd_cap=10))
    assert found["gd"] == pytest.approx(2.5 * (math.log(2) + math.log(4)) / 2, rel=1e-5)
    assert found["rd"] == pytest.approx(2.0 * (-math.log(0.9) - math.log(0.75)) / 2, rel=1e-5)
    assert found["pd"] == pytest.approx(-0.5 * KL, rel=1e-5)


def test_preserve_turns_the_sign_and_the_cap_bounds_diverge_only():
    assert values(SKU(pd_mode="preserve", pd_anchor=0))["pd"] == pytest.approx(KL, rel=1e-5)
    assert values(SKU(pd_mode="diverge", pd_cap=0.2))["pd"] == pytest.approx(-0.2, rel=1e-5)
    assert values(SKU(pd_mode="preserve", pd_anchor=0, pd_cap=0.2))["pd"] == pytest.approx(
        KL, rel=1e-5
    )


def test_the_anchor_weighs_the_change_of_the_nll_whatever_its_sign():
    base, trained = (math.log(2) + math.log(4)) / 2, (-math.log(0.9) - math.log(0.75)) / 2
    found = values(SKU(pd_weight=0.5, pd_anchor=3.0))["pd"]
    assert trained < base
    assert found == pytest.approx(0.5 * (KL + 3.0 * (base - trained)), rel=1e-5)


def test_roles_follow_the_weights():
    assert SKU(rd_weight=1).roles == ("forget", "mismatch", "retain")
    assert (
        SKU(pd_mode="off", rd_weight=1).roles == ("forget", "mismatch")
        and SKU(pd_mode="off").reference_roles == ()
    )
    assert SKU(rd_weight=0).roles == SKU(rd_weight=1, mismatched=0).roles == ("forget", "retain")
    assert SKU(gd_weight=0, rd_weight=1).roles == ("mismatch", "retain")


@pytest.mark.parametrize(
    "options", [{"gd_weight": -1}, {"gd_weight": 0, "rd_weight": 0}, {"pd_cap": -0.1}]
)
def test_options_out_of_range(options: dict):
    with pytest.raises(ConfigError, match=r"method\."):
        SKU(**options)


def test_the_edit_negates():
    assert SKU.edit_scale == -1.0


@pytest.mark.parametrize(("method", "told"), [("sku", "the text 'sku'"), (SKU, "the class SKU")])
def test_the_name_or_class_of_a_method_is_told(method: object, told: str):
    from skunlearn.training.train import train
    from skunlearn.utils.errors import ConfigError

    with pytest.raises(ConfigError, match=told):
        train(None, method, None)
