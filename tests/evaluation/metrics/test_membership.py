"""Membership inference by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy

from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.membership import (
    auc_score,
    lowest_mean,
    membership,
    per_byte,
    texts,
)
from skunlearn.evaluation.metrics.token_stats import TokenStats


def test_auc_counts_pairs_and_halves_ties():
    score = auc_score([3.0, 1.0], [1.0, 0.0])  # 3>1, 3>0, 1=1, 1>0
    assert score.value == pytest.approx(3.5 / 4) and score.n == 4
    assert (
        score.low is not None
        and score.high is not None
        and score.low <= score.value <= score.high <= 1
    )


def test_one_side_missing_or_broken_is_unscored():
    score = auc_score([1.0, 2.0], [float("nan")])
    assert score.value is None and score.unscored == 3


def test_min_k_reads_the_least_likely_fifth():
    assert lowest_mean(np.array([-1.0, -9.0, -2.0, -3.0, -7.0, -1, -1, -1, -1, -1])) == -8.0
    assert lowest_mean(np.array([-4.0, -2.0])) == -4.0


def test_zlib_divides_by_compressed_bytes():
    stats = TokenStats(np.array([-2.0, -2.5]), np.array([True, True]), np.zeros(2))
    assert per_byte(stats, "a") == pytest.approx(
        -2.25 / 9
    )  # the mean; two bytes of head, three of data, four of checksum


def row(log_p: float, z: float = 0.0) -> TokenStats:
    return TokenStats(np.full(5, log_p), np.ones(5, dtype=bool), np.full(5, z))


def subject(seen: list[TokenStats], unseen: list[TokenStats], base: Any = None) -> Any:
    groups = {
        name: [Example("q", "a")] * len(rows) for name, rows in (("seen", seen), ("unseen", unseen))
    }
    return SimpleNamespace(
        answered={"seen": seen, "unseen": unseen},
        base=base,
        groups=groups,
        lm=toy.lm(),
        max_length=200,
    )


def test_zlib_compresses_what_is_scored():
    """Of an answer that is cut, as of its likelihood, the rest does not count."""
    cut = SimpleNamespace(
        groups={"seen": [Example("q", "answer " * 50)]}, lm=toy.lm(), max_length=60
    )
    whole = SimpleNamespace(**vars(cut) | {"max_length": 2000})
    assert texts(whole, "seen") == ["answer " * 50]
    assert 0 < len(texts(cut, "seen")[0]) < 60 and whole.groups["seen"][0].answer.startswith(
        texts(cut, "seen")[0]
    )


def test_each_attack_by_hand():
    base = subject([row(-3.0), row(-1.0)], [row(-1.0)])
    found = membership(subject([row(-1.0, z=0.5), row(-1.0, z=-0.5)], [row(-1.0, z=0.0)], base))
    assert {name: score.value for name, score in found.items()} == {
        "membership_loss_auc": 0.5,  # all alike
        "membership_min_k_auc": 0.5,
        "membership_min_k_plus_auc": 0.5,  # one above, one below
        "membership_zlib_auc": 0.5,
        "membership_reference_auc": 0.75,  # 2 > 0 counts one, 0 = 0 a half
    }
    assert "membership_reference_auc" not in membership(base)


def test_what_was_trained_on_looks_familiar_to_every_attack():
    """A sign turned round would read 0: members are likelier, in all ways that an attack looks
    at."""
    base = subject([row(-3.0)], [row(-3.0)])
    found = membership(subject([row(-1.0, z=0.5)], [row(-2.0, z=-0.5)], base))
    assert {score.value for score in found.values()} == {1.0} and len(found) == 5


def test_broken_rows_are_counted_and_a_missing_side_is_named():
    found = membership(subject([row(float("nan")), row(-1.0)], [row(-2.0)]))["membership_loss_auc"]
    assert (found.value, found.n, found.unscored, found.note) == (1.0, 2, 1, "")
    missing = membership(subject([row(-1.0)], []))["membership_loss_auc"]
    assert (
        missing.value is None
        and "needs trained and unseen prompts that have answers" in missing.note
    )
