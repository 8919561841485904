"""The change of one weight: a dense difference, or the two factors of a LoRA update.

A LoRA run changes a weight of shape (O, I) by `left_OR @ right_RI` with a small rank R. As long as
the factors are kept apart, scaling, adding and the norm cost next to nothing, and adding is exact.
The dense (O, I) product is made only where it must be: when it is added to the weight itself, to a
dense difference, or when a filter looks at single entries.

Blocks of rows. The product is always computed a block of rows at a time, and the height of a block
depends on the number of columns alone (`block_rows`). A matrix product may differ in its last bits
with the number of rows that are computed at once. With fixed blocks, an edit that is applied in
memory and one that is read from its file block by block (`export/out_of_core.py`) are equal to the
last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

BLOCK = 1 << 22  # values in one block of rows, about
ROWS_ALIGNED = 64  # every block begins at a multiple of so many rows


@dataclass(frozen=True)
class LowRank:
    """The change `left_OR @ right_RI`, in the orientation of the weight that it belongs to.

    Attributes:
        left_OR: (O, R), fp32; O is the weight's first dimension.
        right_RI: (R, I), fp32; I is the weight's second dimension.
    """

    left_OR: torch.Tensor
    right_RI: torch.Tensor

    @property
    def shape(self) -> torch.Size:
        """(O, I), the shape of the weight."""
        return torch.Size((self.left_OR.shape[0], self.right_RI.shape[1]))

    @property
    def rank(self) -> int:
        """R, the number of columns of the left factor."""
        return self.left_OR.shape[1]

    def dense(self) -> torch.Tensor:
        """The product, (O, I), computed in blocks of rows; the module's docstring says why."""
        rows = block_rows(self.right_RI.shape[1])
        blocks = [left_OR @ self.right_RI for left_OR in self.left_OR.split(rows)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def scaled(self, factor: float) -> LowRank:
        """The change times `factor`, which goes into the left factor."""
        return LowRank(self.left_OR * factor, self.right_RI)

    def plus(self, other: LowRank) -> LowRank:
        """The sum of two changes of one weight, exactly: the factors side by side.

        [A | C] @ [B ; D] = A B + C D, so the rank of the sum is the sum of the ranks.
        """
        left_OR = torch.cat((self.left_OR, other.left_OR), dim=1)
        right_RI = torch.cat((self.right_RI, other.right_RI), dim=0)
        return LowRank(left_OR, right_RI)

    def norm(self) -> float:
        """Frobenius norm, from two R x R matrices instead of the dense product.

        |A B|^2 = trace(B^T A^T A B) = sum of the entries of (A^T A) * (B B^T).
        """
        left_RR = (self.left_OR.T @ self.left_OR).double()
        right_RR = (self.right_RI @ self.right_RI.T).double()
        return float((left_RR * right_RR).sum().clamp(min=0).sqrt())


Delta = torch.Tensor | LowRank


def block_rows(columns: int) -> int:
    """How many rows a block has in a matrix with so many columns.

    Returns:
        About `BLOCK` values' worth of rows, rounded down to a multiple of 64 so that every block
        starts at an aligned row, and at least 64.
    """
    rows = BLOCK // max(columns, 1)
    return max(ROWS_ALIGNED, rows // ROWS_ALIGNED * ROWS_ALIGNED)


def dense(delta: Delta) -> torch.Tensor:
    """A change as one dense tensor in the shape of its weight."""
    return delta.dense() if isinstance(delta, LowRank) else delta


def scaled(delta: Delta, factor: float) -> Delta:
    """A change times a number; factors stay factors."""
    return delta.scaled(factor) if isinstance(delta, LowRank) else delta * factor


def added(one: Delta, other: Delta) -> Delta:
    """The sum of two changes of the same shape: factors when both are factors, dense otherwise."""
    if isinstance(one, LowRank) and isinstance(other, LowRank):
        return one.plus(other)
    return dense(one) + dense(other)


def frobenius_norm(delta: Delta) -> float:
    """The square root of the sum of squares of all entries, accumulated in fp64."""
    return delta.norm() if isinstance(delta, LowRank) else float(delta.double().norm())


def is_finite(delta: Delta) -> bool:
    """Whether all numbers that a change is made of are finite."""
    if isinstance(delta, LowRank):
        return bool(delta.left_OR.isfinite().all() and delta.right_RI.isfinite().all())
    return bool(delta.isfinite().all())


def moved(parameter: torch.Tensor, delta: Delta) -> torch.Tensor:
    """`parameter + delta`, summed in fp32.

    Returns:
        A new tensor, in the parameter's own type and on its device.
    """
    total = parameter.detach().float() + dense(delta).to(parameter.device)
    return total.to(parameter.dtype)
