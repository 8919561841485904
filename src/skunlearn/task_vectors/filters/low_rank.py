"""Low-rank truncation: keep the strongest singular directions of each weight's change."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class LowRankOnly(Filter):
    """Options of the truncation.

    Attributes:
        rank: how many singular directions of each weight stay, 1 or more. A weight whose change has
            no higher rank stays as it is.
    """

    rank: int = 4

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"low_rank.rank={self.rank}: give 1 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        deltas = {name: spectrum_cut(d, 0, self.rank) for name, d in tau.deltas.items()}
        return TaskVector(deltas, tau.safety)


def spectrum_cut(delta: Delta, first: int, last: int | None) -> Delta:
    """Keep a range of the singular directions of a change, which are sorted from the largest.

    Args:
        delta: factors or a matrix. Vectors and stacked experts (three axes) are returned as they
            are.
        first: index of the first direction that stays, 0 or more.
        last: index after the last one that stays; None keeps all that follow.

    Returns:
        Factors, or zeros when no direction stays.
    """
    if not isinstance(delta, LowRank) and delta.dim() != 2:
        return delta
    left_OK, values_K, right_KI = _svd(delta)
    stays = slice(first, last)
    if not len(values_K[stays]):
        return torch.zeros(delta.shape)
    scaled_OK = left_OK * values_K
    return LowRank(scaled_OK[:, stays].contiguous(), right_KI[stays].contiguous())


def _svd(delta: Delta) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular value decomposition of a change.

    For factors A B the dense product is not needed. With A = Q R and B^T = P S (both QR
    decompositions) the change is Q (R S^T) P^T, and the small matrix R S^T in the middle has its
    singular values.

    Returns:
        Left directions (O, K), singular values (K,) from the largest, right directions (K, I).
    """
    if not isinstance(delta, LowRank):
        return torch.linalg.svd(delta, full_matrices=False)
    q_OR, r_RR = torch.linalg.qr(delta.left_OR)
    p_IR, s_RR = torch.linalg.qr(delta.right_RI.T)
    u_RK, values_K, v_KR = torch.linalg.svd(r_RR @ s_RR.T)
    return q_OR @ u_RK, values_K, v_KR @ p_IR.T
