"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from skunlearn.methods.losses import answer_nll, capped, kl, token_kl, token_nll

HALF = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))


def test_answer_nll_is_the_mean_over_tokens():
    assert answer_nll(HALF, torch.tensor([0, 2])) == pytest.approx(
        (math.log(2) - math.log(0.8)) / 2, abs=1e-6
    )


def test_token_nll_keeps_the_tokens_apart():
    assert token_nll(HALF, torch.tensor([1, 0])).tolist() == pytest.approx(
        [math.log(4), math.log(10)], abs=1e-6
    )


def test_kl_has_the_stated_direction():
    p, q = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.9, 0.1]]))
    by_hand = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert kl(p, q) == pytest.approx(by_hand, abs=1e-6)
    assert kl(q, p) == pytest.approx(
        0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5), abs=1e-6
    )


def test_kl_averages_over_tokens_and_ignores_shifts_of_the_logits():
    p = torch.cat([HALF, HALF])
    q = torch.cat([HALF + 3, HALF.flip(1)])
    assert token_kl(p, q)[:2].abs().max() < 1e-6
    assert kl(p, q) == pytest.approx(token_kl(p, q).sum().item() / 4, abs=1e-6)


def test_a_capped_divergence_has_no_gradient_past_the_cap():
    value = torch.tensor(0.7, requires_grad=True)
    capped(value, 0.5).backward()
    assert value.grad == 0
    assert capped(value, 0.5) == 0.5
    capped(value, 1.0).backward()
    assert value.grad == 1
