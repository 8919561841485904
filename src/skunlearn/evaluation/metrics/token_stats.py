"""Likelihood of given answers, token by token: one pass that several metrics read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.utils.batching import batches_of_like_length
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 8
LEAST_VARIANCE = 1e-12  # of log-probabilities; a uniform prediction has none
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TokenStats:
    """A model's predictions of one row's answer tokens, T of them.

    Attributes:
        log_p_T: their log-probabilities, nats.
        greedy_T: whether each is the model's own first choice at its position.
        z_T: (log p - mean) / standard deviation of the log-probabilities of the whole vocabulary
            under the model, the standardised value of Min-K%++ (arXiv:2404.02936).
    """

    log_p_T: Floats
    greedy_T: NDArray[np.bool_]
    z_T: Floats


@torch.no_grad()
def token_stats(
    model: Any, rows: Sequence[Encoded], progress: Progress | None = None
) -> list[TokenStats]:
    """The statistics of each row, in the order of `rows`.

    Args:
        model: with its weights as they are now.
        rows: prompts with their answers.
        progress: reports the batches.
    """
    progress = progress or Progress()
    found: dict[int, TokenStats] = {}
    batches = batches_of_like_length(list(map(len, rows)), ROWS_AT_ONCE)
    for numbers in progress.over(f"tokens of {len(rows)} answers", batches):
        batch = make_batch(model, [rows[number] for number in numbers])
        log_p_NV = scored_logits(model, batch).float().log_softmax(dim=-1)
        log_p_N = log_p_NV.gather(1, batch.labels_N.unsqueeze(1)).squeeze(1)
        greedy_N = log_p_NV.argmax(dim=-1) == batch.labels_N
        # Mean and variance of log p under the model's own distribution over the vocabulary.
        p_NV = log_p_NV.exp()
        mean_N = (p_NV * log_p_NV).sum(dim=-1)
        variance_N = (p_NV * log_p_NV.square()).sum(dim=-1) - mean_N.square()
        z_N = (log_p_N - mean_N) / variance_N.clamp(min=LEAST_VARIANCE).sqrt()
        for position, number in enumerate(numbers):
            of_row_N = batch.row_N == position
            found[number] = TokenStats(
                log_p_T=log_p_N[of_row_N].cpu().numpy().astype(float),
                greedy_T=greedy_N[of_row_N].cpu().numpy(),
                z_T=z_N[of_row_N].cpu().numpy().astype(float),
            )
    return [found[number] for number in range(len(rows))]
