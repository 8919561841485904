"""Likelihood of reference answers: NLL, perplexity, and KL to the base, over the answer tokens
only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.evaluation.metrics.base import Score, Subject, empty
from skunlearn.evaluation.statistics import bootstrap_mean
from skunlearn.methods.losses import token_kl, token_nll
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.models.reference import Reference
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class RowLikelihood:
    """Sums over the answer tokens of one row, nats.

    Attributes:
        tokens: how many answer tokens.
        nll: their negative log-likelihood, summed.
        kl: KL(base || model) at them, summed; 0 when no base was given.
    """

    tokens: int
    nll: float
    kl: float


def likelihood(subject: Subject) -> dict[str, Score]:
    """`retain_nll`, `retain_perplexity` and `retain_kl` (0 for the base itself) of the reference
    answers."""
    if not subject.groups.get("retain"):
        return {}
    rows = subject.encoded("retain")
    if subject.base:
        found = row_likelihoods(subject.lm.model, rows, subject.reference, subject.progress)
    else:  # the reference is this model's own
        found = own_likelihoods(rows, subject.reference)
    return {
        "retain_nll": nll_score(found),
        "retain_perplexity": perplexity_score(found),
        "retain_kl": kl_score(found),
    }


@torch.no_grad()
def row_likelihoods(
    model: Any,
    rows: Sequence[Encoded],
    reference: Reference | None = None,
    progress: Progress | None = None,
) -> list[RowLikelihood]:
    """Each row's sums, in the order of `rows`; `reference` holds the base's predictions of the same
    rows."""
    found: dict[int, RowLikelihood] = {}
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    chunks = [order[at : at + ROWS_AT_ONCE] for at in range(0, len(order), ROWS_AT_ONCE)]
    for chunk in (progress or Progress()).over(f"likelihood of {len(rows)} texts", chunks):
        batch = make_batch(model, [rows[number] for number in chunk])
        logits_NV = scored_logits(model, batch)
        nll_N = token_nll(logits_NV, batch.labels_N)
        known = [reference.numbers[rows[number]] for number in chunk] if reference else []
        kl_N = (
            token_kl(reference.logits(known), logits_NV) if reference else torch.zeros_like(nll_N)
        )
        for place, number in enumerate(chunk):
            mine_N = batch.row_N == place
            found[number] = RowLikelihood(
                int(mine_N.sum()), float(nll_N[mine_N].sum()), float(kl_N[mine_N].sum())
            )
    return [found[number] for number in range(len(rows))]


def own_likelihoods(rows: Sequence[Encoded], reference: Reference) -> list[RowLikelihood]:
    """The sums of the rows that a reference was made of, without another pass."""
    found = []
    for at in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[at : at + ROWS_AT_ONCE]
        logits_NV = reference.logits(range(at, at + len(chunk)))
        labels_N = torch.tensor(
            [token for row in chunk for token in row.answer_ids], device=logits_NV.device
        )
        for nll_N in token_nll(logits_NV, labels_N).split([len(row.answer_ids) for row in chunk]):
            nll = float(nll_N.sum())
            found.append(
                RowLikelihood(len(nll_N), nll, 0.0 * nll)
            )  # no distance from itself, unless it is not finite
    return found


def nll_score(rows: Sequence[RowLikelihood]) -> Score:
    """Mean NLL of the answer tokens, nats per token, 0 or more; rows are bootstrapped."""
    return _mean([row.nll for row in rows], rows, "nats/token")


def kl_score(rows: Sequence[RowLikelihood]) -> Score:
    """Mean KL(base || model) at the answer tokens, nats per token, 0 or more; rows are
    bootstrapped."""
    return _mean([row.kl for row in rows], rows, "nats/token")


def perplexity_score(rows: Sequence[RowLikelihood]) -> Score:
    """exp of the mean NLL, 1 or more."""
    nll = nll_score(rows)
    if nll.value is None or nll.low is None or nll.high is None:
        return empty("perplexity", False, nll.unscored)
    value, low, high = (
        float(np.exp(min(number, 700.0))) for number in (nll.value, nll.low, nll.high)
    )
    return Score(value, low, high, nll.n, nll.unscored, "perplexity", False)


def _mean(sums: list[float], rows: Sequence[RowLikelihood], unit: str) -> Score:
    good = [
        (total, row.tokens)
        for total, row in zip(sums, rows, strict=True)
        if np.isfinite(total) and row.tokens
    ]
    if not good:
        return empty(unit, False, len(rows))
    totals, tokens = map(list, zip(*good, strict=True))
    means = [total / count for total, count in good]
    low, high = bootstrap_mean(means, tokens)
    return Score(
        sum(totals) / sum(tokens), low, high, len(good), len(rows) - len(good), unit, False
    )
