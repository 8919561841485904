"""Token by token likelihood of given answers: one pass that several metrics read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skunlearn.data.chat_template import Encoded
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TokenStats:
    """What a model thinks of one row's answer tokens, T of them.

    Attributes:
        log_p_T: their log-probabilities, nats.
        greedy_T: whether each is the model's own first choice there.
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
    """Each row's statistics, in the order of `rows`."""
    found: dict[int, TokenStats] = {}
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    chunks = [order[at : at + ROWS_AT_ONCE] for at in range(0, len(order), ROWS_AT_ONCE)]
    for chunk in (progress or Progress()).over(f"tokens of {len(rows)} answers", chunks):
        batch = make_batch(model, [rows[number] for number in chunk])
        log_p_NV = scored_logits(model, batch).float().log_softmax(dim=-1)
        log_p_N = log_p_NV.gather(1, batch.labels_N.unsqueeze(1)).squeeze(1)
        p_NV = log_p_NV.exp()
        mean_N = (p_NV * log_p_NV).sum(dim=-1)
        spread_N = (
            ((p_NV * log_p_NV.square()).sum(dim=-1) - mean_N.square()).clamp(min=1e-12).sqrt()
        )
        columns = log_p_N, log_p_NV.argmax(dim=-1) == batch.labels_N, (log_p_N - mean_N) / spread_N
        for place, number in enumerate(chunk):
            mine_N = batch.row_N == place
            log_p, greedy, z = (column[mine_N].cpu().numpy() for column in columns)
            found[number] = TokenStats(log_p.astype(float), greedy, z.astype(float))
    return [found[number] for number in range(len(rows))]
