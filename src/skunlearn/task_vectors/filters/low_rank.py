"""Low-rank truncation: each weight's change by its strongest singular directions only."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class LowRankOnly(Filter):
    """Options of the truncation.

    Attributes:
        rank: singular directions that stay, 1 or more; one not below a weight's own rank changes
            nothing.
    """

    rank: int = 4

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"low_rank.rank={self.rank}: give 1 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        return TaskVector(
            {name: spectrum_cut(d, 0, self.rank) for name, d in tau.deltas.items()}, tau.safety
        )


def spectrum_cut(delta: Delta, first: int, last: int | None) -> Delta:
    """The part of a difference between two places of its singular spectrum, largest first; vectors
    and stacked experts (three axes) stay as they are.

    Args:
        delta: factors, or a matrix.
        first: the first singular direction that stays.
        last: the first that goes again; None for all that follow.
    """
    if isinstance(delta, LowRank):
        q_OR, r_RR = torch.linalg.qr(delta.left_OR)
        p_IR, s_RR = torch.linalg.qr(delta.right_RI.T)
        u_RK, s_K, v_KR = torch.linalg.svd(r_RR @ s_RR.T)
        left_OK, right_KI = q_OR @ u_RK, v_KR @ p_IR.T
    elif delta.dim() == 2:
        left_OK, s_K, right_KI = torch.linalg.svd(delta, full_matrices=False)
    else:
        return delta
    keep = slice(first, last)
    if not len(s_K[keep]):
        return torch.zeros(delta.shape)
    return LowRank((left_OK * s_K)[:, keep].contiguous(), right_KI[keep].contiguous())
