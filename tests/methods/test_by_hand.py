"""Losses that no golden value covers, against numbers worked out by hand."""

import math

import pytest
import torch

from skunlearn.methods.base import Scored
from skunlearn.methods.ceu import CEU
from skunlearn.methods.circuit_breakers import CircuitBreakers
from skunlearn.methods.dpo import IdkDPO
from skunlearn.methods.ga_mismatch import GAMismatch
from skunlearn.methods.idk_nll import IdkNLL
from skunlearn.methods.kl_minimisation import KLMinimisation
from skunlearn.methods.npo import NPO
from skunlearn.methods.pdu import PDU
from skunlearn.methods.rmu import RMU, direction
from skunlearn.methods.safe_unlearning import SafeUnlearning
from skunlearn.methods.undial import UNDIAL
from skunlearn.utils.errors import ConfigError, TrainingError

# two tokens of one row and one of another, V = 2: the labels have p = 1/2, 1/4 and 3/4, for the
# base 1/4, 1/4 and 1/2
P = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.75, 0.25]]))
BASE = torch.log(torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]))
LABELS, ROWS = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1])
FORGET = Scored(P, LABELS, ROWS, BASE)
NLL = (math.log(2) + math.log(4) + math.log(4 / 3)) / 3
# the base's predictions as the trained ones, and the other way round
RETAIN = Scored(BASE, LABELS, ROWS, P)
RETAIN_NLL = (math.log(4) + math.log(4) + math.log(2)) / 3
RETAIN_KL = (
    0.5 * math.log(0.5 / 0.25)
    + 0.5 * math.log(0.5 / 0.75)
    + 0.75 * math.log(1.5)
    + 0.25 * math.log(0.5)
) / 3


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


def values(method, **scored: Scored) -> dict[str, float]:
    return {name: term.item() for name, term in method.loss(scored).items()}


def about(**expected: float) -> dict:
    return {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_kl_minimisation():
    found = values(
        KLMinimisation(forget_weight=2.0, retain_weight=3.0), forget=FORGET, retain=RETAIN
    )
    assert found == about(forget=-2 * NLL, retain=3 * RETAIN_KL)


def test_gradient_ascent_with_unrelated_answers_and_kl():
    found = values(GAMismatch(), forget=FORGET, unrelated=RETAIN, retain=RETAIN)
    assert found == about(forget=-0.5 * NLL, unrelated=RETAIN_NLL, retain=RETAIN_KL)
    assert GAMismatch(mismatched=0).roles == ("forget", "retain")


def test_idk_nll():
    found = values(IdkNLL(retain_weight=0.5), refusal=FORGET, retain=RETAIN)
    assert found == about(refusal=NLL, retain=0.5 * RETAIN_NLL)


def test_idk_dpo():
    """Log-ratios of the rows: log 2 and log 1.5 for FORGET as refusals; both with the other sign
    for RETAIN as forget answers, so that the margins are twice as large."""
    found = values(IdkDPO(beta=0.5), refusal=FORGET, forget=RETAIN, retain=RETAIN)
    by_hand = (softplus(-0.5 * 2 * math.log(2)) + softplus(-0.5 * 2 * math.log(1.5))) / 2 * 2 / 0.5
    assert found == about(preference=by_hand, retain=RETAIN_NLL)


def test_npo_at_the_base_and_its_sum_over_a_row():
    assert values(NPO(beta=0.1), forget=Scored(P, LABELS, ROWS, P)) == about(
        forget=2 / 0.1 * math.log(2)
    )
    by_hand = 2 / 0.5 * (softplus(0.5 * math.log(2)) + softplus(0.5 * math.log(1.5))) / 2
    assert values(NPO(beta=0.5), forget=FORGET) == about(forget=by_hand)


def test_safe_unlearning():
    """Log-ratios per token: log 2 over two tokens, log 1.5 over one."""
    found = values(SafeUnlearning(), forget=FORGET, refusal=RETAIN, retain=FORGET)
    unlearn = (softplus(math.log(2) / 2) + softplus(math.log(1.5))) / 2
    assert found == about(forget=0.3 * unlearn, refusal=0.5 * RETAIN_NLL, retain=NLL)


def test_undial():
    """Base odds of the label 1/3, 1/3, 1; a logit lower by log 2 halves them: 1/7, 1/7, 1/3 of the
    probability."""
    found = values(UNDIAL(beta=math.log(2)), forget=FORGET)
    first = -(1 / 7 * math.log(0.5) + 6 / 7 * math.log(0.5))
    second = -(6 / 7 * math.log(0.75) + 1 / 7 * math.log(0.25))
    third = -(1 / 3 * math.log(0.75) + 2 / 3 * math.log(0.25))
    assert found == about(forget=(first + second + third) / 3)


def test_ceu_leaves_out_the_first_tokens_of_each_row():
    assert values(CEU(skip=1), forget=FORGET) == about(forget=-math.log(0.75))
    assert values(CEU(skip=0), forget=FORGET) == about(
        forget=(math.log(2) - math.log(0.75) - math.log(0.25)) / 3
    )
    with pytest.raises(TrainingError, match="leaves no token"):
        CEU(skip=2).loss({"forget": FORGET})


def test_pdu_and_its_multiplier():
    """(max - mean)^2 of the logits (0, 0), (log 3, 0), (log 3, 0) is 0, (log 3 / 2)^2 twice."""
    method = PDU(tolerance=0.5, dual_start=2.0, dual_step=0.5)
    found = values(method, forget=FORGET, retain=RETAIN)
    violation = RETAIN_NLL - 1.5 * NLL
    assert found == about(forget=2 / 3 * (math.log(3) / 2) ** 2, retain=violation)
    assert method.weights(0.1, {}, {}) == {"retain": 2.0}
    assert method.weights(0.2, {"retain": 2.0}, {"forget": 9.0, "retain": 3.0}) == {"retain": 3.5}
    assert method.weights(0.3, {"retain": 2.0}, {"retain": -5.0}) == {"retain": 0.0}


def test_rmu():
    """D = 2: h - c u on the first token is (1, 0), on the second (0, 3); retain rows moved by (2,
    0)."""
    method = RMU(steering=5.0, retain_weight=10.0, layer=0.5)
    place_D = 5.0 * direction(2)
    assert direction(2).norm() == pytest.approx(1) and torch.equal(direction(2), direction(2))
    forget = Scored(
        P[:2], LABELS[:2], ROWS[:2], hidden={0.5: place_D + torch.tensor([[1.0, 0.0], [0.0, 3.0]])}
    )
    still_ND = torch.tensor([[1.0, 2.0]])
    retain = Scored(
        P[:1],
        LABELS[:1],
        ROWS[:1],
        P,
        {0.5: still_ND + torch.tensor([[2.0, 0.0]])},
        {0.5: still_ND},
    )
    assert values(method, forget=forget, retain=retain) == about(
        forget=(1 + 9) / 4, retain=10 * 4 / 2
    )
    assert method.hidden_layers == (0.5,)


def test_circuit_breakers_and_their_schedule():
    """cos = 3/5 and, turned past the right angle, relu(-1) = 0; retain rows moved by (3, 4)."""
    method = CircuitBreakers(alpha=10.0, read=(0.5, 1.0))
    base_ND, turned_ND = (
        torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        torch.tensor([[3.0, 4.0], [0.0, -7.0]]),
    )
    forget = Scored(
        P[:2],
        LABELS[:2],
        ROWS[:2],
        P[:2],
        {0.5: turned_ND, 1.0: base_ND},
        {0.5: base_ND, 1.0: base_ND},
    )
    moved_ND = base_ND + torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    retain = Scored(
        P[:2],
        LABELS[:2],
        ROWS[:2],
        P[:2],
        {0.5: moved_ND, 1.0: base_ND},
        {0.5: base_ND, 1.0: base_ND},
    )
    assert values(method, forget=forget, retain=retain) == about(
        reroute=(0.6 / 2 + 1) / 2, retain=2.5 / 2
    )
    assert method.weights(0.5, {}, {}) == about(reroute=7.5, retain=2.5)
    assert method.weights(1.0, {}, {}) == about(reroute=5.0, retain=5.0)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (NPO, {"beta": 0}),
        (NPO, {"retain_weight": -1}),
        (KLMinimisation, {"forget_weight": float("nan")}),
        (RMU, {"layer": 1.5}),
        (CircuitBreakers, {"read": ()}),
        (CircuitBreakers, {"read": (0.0,)}),
        (PDU, {"dual_step": 0}),
        (CEU, {"skip": -1}),
    ],
)
def test_options_out_of_range(method: type, options: dict):
    with pytest.raises(ConfigError, match=rf"method\.{next(iter(options))}"):
        method(**options)
