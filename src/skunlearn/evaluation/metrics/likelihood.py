"""Likelihood of reference answers: NLL, perplexity and KL from the base, over answer tokens only.

All means are over tokens, not over rows: a row counts by its length. Intervals resample rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.evaluation.metrics.base import Score, Subject, metric_empty, metric_score
from skunlearn.evaluation.metrics.catalog import RETAIN_KL, RETAIN_NLL
from skunlearn.evaluation.statistics import bootstrap_mean
from skunlearn.methods.losses import token_kl, token_nll
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.models.reference import Reference
from skunlearn.utils.batching import batched, batches_of_like_length
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 16
PERPLEXITY = "retain_perplexity"
LARGEST_NLL = 700.0  # exp overflows above 709 nats


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
    """`retain_nll`, `retain_perplexity` and `retain_kl` of the reference answers to ordinary
    prompts; the KL of the base itself is 0."""
    if not subject.groups.get("retain"):
        return {}
    rows = subject.encoded("retain")
    if subject.base:
        found = row_likelihoods(subject.lm.model, rows, subject.reference, subject.progress)
    else:
        found = own_likelihoods(rows, subject.reference)
    return {
        RETAIN_NLL: nll_score(found),
        PERPLEXITY: perplexity_score(found),
        RETAIN_KL: kl_score(found),
    }


@torch.no_grad()
def row_likelihoods(
    model: Any,
    rows: Sequence[Encoded],
    reference: Reference | None = None,
    progress: Progress | None = None,
) -> list[RowLikelihood]:
    """The likelihood of each row, in the order of `rows`.

    Args:
        model: with its weights as they are now.
        rows: prompts with their answers.
        reference: the base's predictions for the same rows; without it there is no KL.
        progress: reports the batches.
    """
    progress = progress or Progress()
    found: dict[int, RowLikelihood] = {}
    batches = batches_of_like_length(list(map(len, rows)), ROWS_AT_ONCE)
    for numbers in progress.over(f"likelihood of {len(rows)} texts", batches):
        batch_rows = [rows[number] for number in numbers]
        batch = make_batch(model, batch_rows)
        logits_NV = scored_logits(model, batch)
        nll_N = token_nll(logits_NV, batch.labels_N)
        kl_N = torch.zeros_like(nll_N)
        if reference:
            base_logits_NV = reference.logits([reference.numbers[row] for row in batch_rows])
            kl_N = token_kl(base_logits_NV, logits_NV)
        # The scored tokens of all rows are in one dimension; sum them up row by row.
        for position, number in enumerate(numbers):
            of_row_N = batch.row_N == position
            nll = float(nll_N[of_row_N].sum())
            kl = float(kl_N[of_row_N].sum())
            found[number] = RowLikelihood(int(of_row_N.sum()), nll, kl)
    return [found[number] for number in range(len(rows))]


def own_likelihoods(rows: Sequence[Encoded], reference: Reference) -> list[RowLikelihood]:
    """The likelihood of each row under the model that the reference was recorded from.

    The recorded states already hold the predictions, so no forward pass is needed.

    Args:
        rows: all rows of the reference, in its order.
        reference: the model's predictions for them.
    """
    found: list[RowLikelihood] = []
    for numbers in batched(range(len(rows)), ROWS_AT_ONCE):
        logits_NV = reference.logits(numbers)
        labels: list[int] = []
        lengths: list[int] = []
        for number in numbers:
            labels.extend(rows[number].answer_ids)
            lengths.append(len(rows[number].answer_ids))
        labels_N = torch.tensor(labels, device=logits_NV.device)
        for nll_N in token_nll(logits_NV, labels_N).split(lengths):
            nll = float(nll_N.sum())
            # A model has no distance from itself; NaN where its NLL is not finite.
            kl = 0.0 * nll
            found.append(RowLikelihood(len(nll_N), nll, kl))
    return found


def nll_score(rows: Sequence[RowLikelihood]) -> Score:
    """Mean NLL of the answer tokens, nats per token, 0 or more; rows are bootstrapped."""
    return _token_mean(RETAIN_NLL, rows, [row.nll for row in rows])


def kl_score(rows: Sequence[RowLikelihood]) -> Score:
    """Mean KL(base || model) at the answer tokens, nats per token, 0 or more; rows are
    bootstrapped."""
    return _token_mean(RETAIN_KL, rows, [row.kl for row in rows])


def perplexity_score(rows: Sequence[RowLikelihood]) -> Score:
    """exp of the mean NLL and of the ends of its interval, 1 or more."""
    nll = nll_score(rows)
    if nll.value is None or nll.low is None or nll.high is None:
        return metric_empty(PERPLEXITY, nll.unscored)
    interval = _exp(nll.low), _exp(nll.high)
    return metric_score(PERPLEXITY, _exp(nll.value), interval, nll.n, nll.unscored)


def _exp(nll: float) -> float:
    return float(np.exp(min(nll, LARGEST_NLL)))


def _token_mean(name: str, rows: Sequence[RowLikelihood], sums: Sequence[float]) -> Score:
    """Sum over all tokens by their number; rows without tokens or a finite sum are unscored.

    Args:
        name: a metric of the catalogue, for unit and direction.
        rows: the rows.
        sums: one sum a row, over its tokens.
    """
    totals: list[float] = []
    tokens: list[int] = []
    means: list[float] = []
    for total, row in zip(sums, rows, strict=True):
        if np.isfinite(total) and row.tokens:
            totals.append(total)
            tokens.append(row.tokens)
            means.append(total / row.tokens)
    if not totals:
        return metric_empty(name, len(rows))
    # The mean of a row, weighted by its tokens, is what the bootstrap resamples.
    interval = bootstrap_mean(means, tokens)
    value = sum(totals) / sum(tokens)
    return metric_score(name, value, interval, len(totals), len(rows) - len(totals))
